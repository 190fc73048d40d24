"""What is encoded while a query is answered: shared by all defences, remembered, and counted."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mithridate.core.errors import EncoderError
from mithridate.retrieval.base import Encoder, Hit, Vectors
from mithridate.retrieval.masked_vectors import MaskedVectors
from mithridate.retrieval.masking import Masking, Span

_REMEMBERED = 4096
_TEXTS_AT_ONCE = 64
_CHARACTERS_AT_ONCE = 1_000_000


class VectorMemory:
    """Vectors of texts, the least recently used forgotten first; safe to share between threads."""

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._most = most
        self._rows: OrderedDict[bytes, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> Vectors | None:
        """The vector kept under `key`, if it still is."""
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)
            return self._rows.get(key)

    def put(self, key: bytes, row: Vectors) -> None:
        """Keep a copy of `row`, and forget the oldest where there are too many."""
        with self._lock:
            self._rows[key] = row.copy()
            self._rows.move_to_end(key)
            while len(self._rows) > self._most:
                self._rows.popitem(last=False)


class Encodings:
    """An encoder with a memory and a count.

    Nothing is encoded twice while it is remembered: whole texts in `memory`, texts with a masked span in
    `masked`; both may be shared by many queries. `count` is the number of texts that were really encoded
    since this object was made. A blank text is never encoded: its vector is zero, so it is like nothing.

    Raises EncoderError if `masked` holds another encoder's vectors, or the encoder returns anything but one
    finite row a text.
    """

    def __init__(
        self, encoder: Encoder, masked: MaskedVectors | None = None, *, memory: VectorMemory | None = None
    ) -> None:
        self.encoder = encoder
        self.count = 0
        self._masked = MaskedVectors(encoder) if masked is None else masked
        self._masked.check(encoder)
        self._memory = VectorMemory() if memory is None else memory

    def reset(self) -> None:
        """Count from zero again."""
        self.count = 0

    def documents(self, texts: Sequence[str]) -> Vectors:
        """The unit vectors of whole texts, shape (len(texts), dimension); the same text is encoded once."""
        keys = [_key(text) for text in texts]
        known = {key: row for key in keys if (row := self._memory.get(key)) is not None}
        missing = {
            key: text for key, text in zip(keys, texts, strict=True) if key not in known and text.strip()
        }
        for key, row in zip(missing, self._encoded(list(missing.values())), strict=True):
            self._memory.put(key, row)
            known[key] = row
        blank = np.zeros(self.encoder.dimension, np.float32)
        return _stacked([known.get(key, blank) for key in keys], self.encoder.dimension)

    def of_hits(self, hits: Sequence[Hit]) -> Vectors:
        """The unit vectors of the hits' documents; those that come with one are not encoded."""
        missing = [hit.document.text for hit in hits if hit.vector is None]
        encoded = iter(self.documents(missing))
        rows = [next(encoded) if hit.vector is None else hit.vector for hit in hits]
        for row in rows:
            if row.shape != (self.encoder.dimension,):
                raise EncoderError(
                    f"a hit's vector has the shape {row.shape}, but encoder {self.encoder.identity!r} makes "
                    f"({self.encoder.dimension},): its store was filled by another encoder"
                )
        return _stacked(rows, self.encoder.dimension)

    def masked(self, text: str, masking: Masking) -> tuple[list[Span], Vectors]:
        """The spans of `text` in their order, and the vectors of the text without each, one row a span."""
        found = self._masked.get(text, masking)
        if found is None:
            spans: list[Span] = []
            rows = [np.zeros((0, self.encoder.dimension), np.float32)]
            for batch in _batched(masking.masked_texts(text, self.encoder)):
                spans += [span for span, _ in batch]
                rows.append(self._with_blanks([masked for _, masked in batch]))
            found = spans, np.concatenate(rows)
            self._masked.put(text, masking, *found)
        return found

    def _with_blanks(self, texts: Sequence[str]) -> Vectors:
        rows = np.zeros((len(texts), self.encoder.dimension), np.float32)
        filled = [i for i, text in enumerate(texts) if text.strip()]
        rows[filled] = self._encoded([texts[i] for i in filled])
        return rows

    def _encoded(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.encoder.dimension), np.float32)
        rows = np.asarray(self.encoder.encode(texts), np.float32)
        self.count += len(texts)
        if rows.shape != (len(texts), self.encoder.dimension) or not np.isfinite(rows).all():
            raise EncoderError(
                f"encoder {self.encoder.identity!r} returned the shape {rows.shape} for {len(texts)} texts, "
                f"or numbers that are not finite; expected ({len(texts)}, {self.encoder.dimension})"
            )
        return rows


def _stacked(rows: Sequence[Vectors], dimension: int) -> Vectors:
    return np.stack(rows) if rows else np.zeros((0, dimension), np.float32)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=20).digest()


def _batched(masked: Iterable[tuple[Span, str]]) -> Iterator[list[tuple[Span, str]]]:
    """Batches of masked texts, small where the texts are long: all at once would be spans x length."""
    batch: list[tuple[Span, str]] = []
    characters = 0
    for span, text in masked:
        batch.append((span, text))
        characters += len(text)
        if len(batch) == _TEXTS_AT_ONCE or characters > _CHARACTERS_AT_ONCE:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
