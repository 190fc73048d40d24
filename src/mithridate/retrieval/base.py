"""The words of retrieval: texts to vectors, hits with reasons, and the two kinds of defence.

A *retriever* decides over a whole index which documents come up. A *reranker* looks at hits that any store
returned. A `Guard` chains rerankers, a `GuardedIndex` puts one retriever in front of them. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mithridate.core.types import Document

if TYPE_CHECKING:
    from mithridate.retrieval.encodings import Encodings

Vectors: TypeAlias = NDArray[np.float32]


class TextRole(StrEnum):
    """What a text is to the encoder: many were trained with another prompt for each."""

    QUERY = "query"
    DOCUMENT = "document"


class Mode(StrEnum):
    """What is done about a hit that looks planted."""

    OBSERVE = "observe"
    """Say so, and leave hits, order and scores as the plain search has them."""
    DEMOTE = "demote"
    """Rank by the defence's own scores."""
    DROP = "drop"
    """Leave it out."""


@runtime_checkable
class Encoder(Protocol):
    """Texts to unit vectors, so that a dot product is a cosine.

    `identity` names model, prompts, precision and length: vectors of two identities are never compared.
    """

    identity: str
    dimension: int

    def encode(self, texts: Sequence[str], *, role: TextRole = TextRole.DOCUMENT) -> Vectors:
        """One row a text, shape (len(texts), dimension), each of length 1.

        Raises EncoderError for a vector that is not finite.
        """

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Where the tokens that the encoder reads stand in the text, as character offsets in their order."""

    @property
    def mask_text(self) -> str | None:
        """What stands for a masked token in a text, or None if the encoder has no such token."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, as text and as a unit vector of shape (dimension,)."""

    text: str
    vector: Vectors = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Reason:
    """What one defence found about one hit, in words and in figures.

    `evidence` holds plain JSON values: votes and combinations, the span and how far the match fell without
    it, the cluster.
    """

    defense: str
    suspicious: bool
    says: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The same as a dictionary, for JSON and for other people's metadata."""
        return {
            "defense": self.defense,
            "suspicious": self.suspicious,
            "says": self.says,
            "evidence": dict(self.evidence),
        }


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that came up, the score of the last defence that ranked it, and what each found."""

    document: Document
    score: float
    reasons: tuple[Reason, ...] = ()
    # Arrays have no truth value, so that two hits with vectors could not be compared.
    vector: Vectors | None = field(default=None, compare=False, repr=False)
    """The whole document's unit vector where it is known; a reranker encodes the text where it is not."""

    @property
    def suspicious(self) -> bool:
        """Whether any defence thinks it planted."""
        return any(reason.suspicious for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class Layout:
    """What an index must keep of each document for a retriever.

    `fragments` contiguous pieces are embedded by themselves; with `concatenations` also the rejoined text of
    every `combination` of them (the undefended control of the paper, C(N, k) vectors).
    """

    whole: bool = True
    fragments: int = 0
    combination: int = 0
    concatenations: bool = False


@dataclass(frozen=True, slots=True)
class Ranked:
    """A row of the index that a retriever brings up."""

    row: int
    score: float
    reason: Reason | None = None


class StoredVectors(Protocol):
    """The vectors of an index, row by row of its documents; memory-mapped or in memory.

    A part that the layout did not ask for is an array with zero columns. Deleted rows are never returned by
    a retriever: `alive` is False there.
    """

    whole: Vectors
    """(n, dimension) unit rows."""
    fragments: Vectors
    """(n, N, dimension) unit vectors of the fragments."""
    norms: Vectors
    """(n, C(N, k)): length of the mean of each combination of fragments, in the order of `itertools`."""
    concatenations: Vectors
    """(n, C(N, k), dimension) unit vectors of rejoined fragments."""
    alive: NDArray[np.bool_]
    """(n,)"""


class Retriever(Protocol):
    """A defence over a whole index: what it needs kept, and which rows it brings up."""

    name: ClassVar[str]

    @property
    def layout(self) -> Layout:
        """What the index must keep for it."""

    def retrieve(self, vectors: StoredVectors, query: Vectors, top: int) -> list[Ranked]:
        """At most `top` rows for a query vector of shape (dimension,), best first, ties by row number."""

    def reasons(
        self, vectors: StoredVectors, query: Vectors, rows: Sequence[int], top: int
    ) -> list[Reason | None]:
        """What it would say of these `rows` where `top` are asked for: for `Mode.OBSERVE`, in which the plain
        search decides what comes up."""


class Reranker(Protocol):
    """A defence over hits that some store returned."""

    name: ClassVar[str]

    def breadth(self, top_k: int) -> int:
        """How many hits it wants to see for an answer of `top_k`."""

    def rerank(self, query: Query, hits: Sequence[Hit], top_k: int, encodings: Encodings) -> list[Hit]:
        """All `hits`, in this defence's order, with its scores and one `Reason` more each.

        It never leaves a hit out: the guard's mode decides about that.
        """
