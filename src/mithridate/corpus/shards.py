"""What every kind of shard can do: give its documents, be surveyed, take planted ones in."""

from __future__ import annotations

import hashlib
import random
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from mithridate.core.artifacts import atomic_path
from mithridate.core.errors import ConfigError, nearest
from mithridate.core.types import Document
from mithridate.corpus.counting import TokenCounter
from mithridate.corpus.streams import sha256_of

CHANGED_MEANWHILE = "was changed while it was planted; run the same command again"


@dataclass(frozen=True, slots=True)
class Fields:
    """Names of the fields that hold a document's text and identifier.

    Raises ConfigError if they are one and the same: identifiers would be planted for texts.
    """

    text: str = "text"
    id: str = "id"

    def __post_init__(self) -> None:
        if self.text == self.id:
            raise ConfigError(
                f"the field {self.text!r} cannot hold both the text and the identifier; "
                "choose another --text-field or --id-field"
            )


@dataclass(frozen=True, slots=True)
class Insertion:
    """One document to plant before clean document `position` of a shard (or after the last)."""

    position: int
    text: str
    attack: str
    kind: str
    template: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a planted document lies: its index in the planted shard, its bytes in the uncompressed stream."""

    position: int
    byte_offset: int | None
    byte_length: int
    sha256: str
    document_id: str


class Insertions(Protocol):
    """What to plant in one shard, in order of position; iterable once."""

    positions: npt.NDArray[np.int64]

    def __iter__(self) -> Iterator[Insertion]:
        """The insertions, made as they are asked for."""


Record = Callable[[Insertion, Placed], None]


@dataclass(frozen=True)
class Surveyed(ABC):
    """A shard that was read once: its documents and tokens, its hash, and how to write it anew."""

    documents: int
    tokens: int
    sha256: str

    @abstractmethod
    def write(self, out: Path, insertions: Insertions, rng: random.Random, record: Record) -> None:
        """Write the shard to `out` with `insertions` in it, telling `record` where each came to lie."""


@dataclass(frozen=True)
class Shard(ABC):
    """One unit of a corpus; `name` is its path relative to the corpus, with forward slashes."""

    name: str
    path: Path
    size: int
    fields: Fields

    format: ClassVar[str]
    reversible: ClassVar[bool]
    """Whether the original bytes are those of the planted shard less what was planted.

    Where they are not (compressed and columnar files), the original itself is kept.
    """

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """The documents, streamed.

        Raises DataError naming the line or row that cannot be read.
        """

    @abstractmethod
    def survey(self, counter: TokenCounter) -> Surveyed:
        """Read the shard once."""

    def output(self, out: Path) -> Path:
        """Where this shard lies under `out`."""
        return out / self.name

    def copy(self, out: Path) -> None:
        """Write the shard to `out` as it is."""
        with atomic_path(out) as beside:
            shutil.copyfile(self.path, beside)

    def size_at(self, place: Path) -> int | None:
        """Size in bytes of this shard as it lies, planted or not, at `place`; None if it is not there."""
        return place.stat().st_size if place.exists() else None

    def stamp(self) -> str:
        """What changes when the content does, and is had without reading it: size and time of change."""
        return stamp_of(self.path)

    def digest(self) -> str:
        """The hash that a survey finds, without one."""
        return sha256_of(self.path)


@dataclass(frozen=True)
class OtherFile(Shard):
    """A file that holds no documents; it is copied as it is."""

    format: ClassVar[str] = "other"
    reversible: ClassVar[bool] = True

    def documents(self) -> Iterator[Document]:
        """None."""
        return iter(())

    def survey(self, counter: TokenCounter) -> Surveyed:  # noqa: ARG002 - nothing to count
        """The hash alone."""
        return _Nothing(0, 0, sha256_of(self.path))


@dataclass(frozen=True)
class _Nothing(Surveyed):
    def write(self, out: Path, insertions: Insertions, rng: random.Random, record: Record) -> None:
        del out, insertions, rng, record
        raise AssertionError("nothing is planted in a file without documents")


def tokens_of(texts: Iterable[str], counter: TokenCounter, *, batch: int = 256) -> tuple[int, int]:
    """Documents and tokens of `texts`, counted in batches."""
    documents = tokens = 0
    waiting: list[str] = []
    for text in texts:
        waiting.append(text)
        if len(waiting) == batch:
            documents, tokens = documents + len(waiting), tokens + sum(counter.count(waiting))
            waiting.clear()
    return documents + len(waiting), tokens + sum(counter.count(waiting))


def missing_field(field: str, keys: Iterable[str]) -> str:
    """What to say of a record without `field`."""
    known = sorted(map(str, keys))
    near = nearest(field, known)
    hint = "" if near is None else f"did you mean {near!r}? "
    here = ", ".join(known) or "none"
    return f"there is no such field; {hint}fields here are {here} (choose with --text-field)"


def stamp_of(path: Path) -> str:
    """Size and time of the last change of a file."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def sha256_bytes(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


_MANY = 10
_HEX = "0123456789abcdef"


class NaturalIds:
    """Identifiers that look like those of the neighbours, without repeating them.

    Digits, and letters where all are hexadecimal, are drawn anew. Too few of them to be unlike every
    neighbour's are replaced by more.
    """

    def __init__(self, example: object, rng: random.Random, *, largest: int = 2**53) -> None:
        self._example, self._rng, self._largest = example, rng, largest

    def next(self) -> str | int | None:
        """A new identifier of the example's type; None where the neighbours have none."""
        example = self._example
        if isinstance(example, bool) or not isinstance(example, str | int):
            return None
        if isinstance(example, int):
            return self._rng.randrange(self._largest // 2, self._largest)
        letters = [c for c in example if c.isalpha()]
        hexadecimal = all(c in _HEX for c in letters)
        varied = sum(c in _HEX if hexadecimal else c in "0123456789" for c in example)
        if varied < _MANY:
            head = example.rstrip("0123456789") if not (hexadecimal and letters) else ""
            return head + "".join(self._rng.choices("0123456789", k=12))
        return "".join(self._vary(c, hexadecimal=hexadecimal) for c in example)

    def _vary(self, char: str, *, hexadecimal: bool) -> str:
        if hexadecimal and char in _HEX:
            has_letters = any(c.isalpha() for c in str(self._example))
            return self._rng.choice(_HEX if has_letters else _HEX[:10])
        return self._rng.choice(_HEX[:10]) if char in _HEX[:10] else char
