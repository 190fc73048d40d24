"""The vectors of texts with each span masked: they do not depend on a query, so each is encoded once."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mithridate.core.errors import EncoderError
from mithridate.retrieval.base import Encoder, Vectors
from mithridate.retrieval.masked_folder import MaskedFolder
from mithridate.retrieval.masking import Masking, Span

if TYPE_CHECKING:
    from mithridate.retrieval.encodings import Encodings

_MEMORY_BYTES = 512 * 2**20


class MaskedVectors:
    """A cache of one encoder's vectors, kept in memory, or in a folder where one is named.

    In memory the least recently used texts are forgotten beyond `memory_bytes`. In a folder nothing is
    forgotten, and processes may share it: see `MaskedFolder`.

    Raises EncoderError if the folder holds another encoder's vectors, StorageError if it is a file.
    """

    def __init__(
        self, encoder: Encoder, folder: Path | str | None = None, *, memory_bytes: int = _MEMORY_BYTES
    ) -> None:
        self.identity = encoder.identity
        self._lock = threading.Lock()
        self._kept: MaskedFolder | _Memory = (
            _Memory(memory_bytes)
            if folder is None
            else MaskedFolder(Path(folder), encoder.identity, encoder.dimension)
        )

    def check(self, encoder: Encoder) -> None:
        """Raise EncoderError unless these are the vectors of `encoder`."""
        if encoder.identity != self.identity:
            raise EncoderError(
                f"the masked vectors are those of encoder {self.identity!r}, not of {encoder.identity!r}; "
                "give each encoder a cache of its own"
            )

    def get(self, text: str, masking: Masking) -> tuple[list[Span], Vectors] | None:
        """The spans of `text` and the vectors without each, shape (spans, dimension), if they are here."""
        with self._lock:
            found = self._kept.get(self._key(text, masking))
        if found is None:
            return None
        spans, vectors = found
        return [(int(start), int(end)) for start, end in spans], vectors

    def put(self, text: str, masking: Masking, spans: Sequence[Span], vectors: Vectors) -> None:
        """Keep the vectors of `text` without each of its `spans`."""
        table = np.asarray(spans, np.int64).reshape(-1, 2)
        with self._lock:
            self._kept.put(self._key(text, masking), table, vectors)

    def __len__(self) -> int:
        """How many texts are here, counted once for each masking."""
        return len(self._kept)

    def flush(self) -> None:
        """Wait until everything is on the disk; StorageError if something could not be written."""
        with self._lock:
            self._kept.flush()

    def fill(
        self,
        texts: Sequence[str],
        encodings: Encodings,
        masking: Masking,
        progress: Callable[[int, int], object] | None = None,
    ) -> None:
        """Encode what is not here yet, so that no query has to; `encodings` must have been made with this.

        `progress` is told how many of the texts are done, and of how many. Raises StorageError if something
        could not be written.
        """
        for done, text in enumerate(texts, 1):
            encodings.masked(text, masking)
            if progress is not None:
                progress(done, len(texts))
        self.flush()

    def _key(self, text: str, masking: Masking) -> bytes:
        named = f"{self.identity}\0{masking.key}\0{text}".encode(errors="surrogatepass")
        return hashlib.blake2b(named, digest_size=32).digest()


class _Memory:
    """Arrays by key, the least recently used forgotten first."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[bytes, tuple[np.ndarray, Vectors]] = OrderedDict()

    def get(self, key: bytes) -> tuple[np.ndarray, Vectors] | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: bytes, spans: np.ndarray, vectors: Vectors) -> None:
        if key in self._kept:
            return
        self._kept[key] = (spans, vectors)
        self._bytes += spans.nbytes + vectors.nbytes
        while self._bytes > self._most:
            _, (old_spans, old_vectors) = self._kept.popitem(last=False)
            self._bytes -= old_spans.nbytes + old_vectors.nbytes

    def flush(self) -> None:
        """Nothing waits to be written."""

    def __len__(self) -> int:
        return len(self._kept)
