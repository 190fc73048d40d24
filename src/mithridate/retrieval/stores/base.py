"""What a vector store must do: keep documents with their vectors, and find the nearest, exactly or nearly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np

from mithridate.core.errors import EncoderError
from mithridate.core.types import Document
from mithridate.retrieval.base import Vectors

Searched: TypeAlias = Literal["whole", "mean"]
"""Which vector of a document is compared with a query: that of its text, or the mean of its fragments'."""

AT_ONCE = 256
"""How many documents go to or come from a store in one request."""


@dataclass(frozen=True, slots=True)
class About:
    """What the vectors of a store are, so that no other encoder's are ever compared with them."""

    encoder: str
    dimension: int
    fragments: int

    def check(self, found: About, where: str) -> None:
        """Raise EncoderError unless `found`, what the store holds, is this."""
        if found != self:
            raise EncoderError(
                f"{where}: holds vectors of the encoder {found.encoder!r} ({found.dimension} dimensions, "
                f"{found.fragments} fragments a document), not of {self.encoder!r} ({self.dimension}, "
                f"{self.fragments}); choose another name, or fill it anew"
            )


@dataclass(frozen=True, slots=True)
class Entry:
    """A document and its unit vectors: `whole` (dimension,) and `fragments` (N, dimension)."""

    document: Document
    whole: Vectors
    fragments: Vectors

    def mean(self) -> Vectors:
        """The direction of the mean of the fragments; of the whole text where there is none."""
        total = self.fragments.sum(axis=0, dtype=np.float64)
        length = float(np.linalg.norm(total))
        return np.asarray(total / length, np.float32) if length > 0 else self.whole


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that a store found, and its similarity to the query."""

    document: Document
    score: float


class VectorStore(Protocol):
    """A collection of a vector store. Each method raises StoreUnavailableError if the store does not answer.

    Documents are known by their identifiers: one that is put again replaces what was there.
    """

    @property
    def name(self) -> str:
        """How errors call it."""

    def prepare(self, about: About) -> None:
        """Make the collection, or raise EncoderError if one is there for other vectors."""

    def put(self, entries: Sequence[Entry]) -> None:
        """Keep `entries`, all or none of them."""

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents; identifiers that are not there are passed over."""

    def nearest(self, query: Vectors, by: Searched, limit: int) -> list[Candidate]:
        """About the `limit` documents most similar to `query`, best first; an index may miss some."""

    def vectors(self, ids: Sequence[str]) -> Mapping[str, tuple[Vectors, Vectors]]:
        """Whole texts' vectors and those of their fragments, by identifier; what is gone is left out."""

    def entries(self) -> Iterator[list[Entry]]:
        """Everything, in batches."""

    def close(self) -> None:
        """Let go of connections and files that were opened for it."""

    def __len__(self) -> int:
        """How many documents there are."""


def written(document: Document) -> str:
    """A document as ASCII: databases refuse halves of surrogate pairs, and some NUL."""
    return json.dumps([document.id, document.text, dict(document.meta)])


def read(text: str) -> Document:
    """The document that `written` wrote."""
    identifier, body, meta = json.loads(text)
    return Document(identifier, body, meta)
