"""Retrievers to compare defences with: the plain search, and RAGPart without what is said to make it work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import ClassVar

import numpy as np

from mithridate.core.errors import ConfigError
from mithridate.retrieval.base import Layout, Ranked, Reason, StoredVectors, Vectors
from mithridate.retrieval.fragments import check_combinations
from mithridate.retrieval.ranking import Scores, best_rows
from mithridate.retrieval.votes import Election, combination_scores, without_deleted


class _Unsuspecting:
    """A retriever that has nothing to say about the rows that come up."""

    __slots__ = ()

    def reasons(
        self,
        vectors: StoredVectors,  # noqa: ARG002 - asked for by the protocol
        query: Vectors,  # noqa: ARG002
        rows: Sequence[int],
        top: int,  # noqa: ARG002
    ) -> list[Reason | None]:
        """None for each row: it suspects nothing."""
        return [None] * len(rows)


@dataclass(frozen=True, slots=True)
class Plain(_Unsuspecting):
    """No defence: the documents whose vectors are most similar to the query, ties by row number."""

    name: ClassVar[str] = "plain"

    @property
    def layout(self) -> Layout:
        """One vector a document."""
        return Layout(whole=True)

    def retrieve(self, vectors: StoredVectors, query: Vectors, top: int) -> list[Ranked]:
        """At most `top` rows, best first."""
        if vectors.whole.shape[1] != len(query):
            raise ConfigError(
                f"the index holds vectors of whole documents of shape {vectors.whole.shape}, the query has "
                f"{len(query)} dimensions; build the index anew for the plain search"
            )
        return _unanimous(without_deleted(np.asarray(vectors.whole) @ query, vectors.alive), top)


@dataclass(frozen=True, slots=True)
class MeanOfFragments(_Unsuspecting):
    """One vector a document, the mean of its fragments': RAGPart with k = N, so without a vote.

    It shows what of RAGPart's effect is due to averaging alone.
    """

    name: ClassVar[str] = "mean_of_fragments"

    fragments: int = 5

    def __post_init__(self) -> None:
        check_combinations(self.fragments, self.fragments)

    @property
    def layout(self) -> Layout:
        """The fragments' vectors, and the length of their mean."""
        return Layout(whole=False, fragments=self.fragments, combination=self.fragments)

    def retrieve(self, vectors: StoredVectors, query: Vectors, top: int) -> list[Ranked]:
        """At most `top` rows, best first."""
        (scores,) = combination_scores(vectors, query, self.fragments, self.fragments)
        return _unanimous(scores, top)


@dataclass(frozen=True, slots=True)
class Concatenated:
    """The vote of RAGPart over texts: fragments are put together before they are encoded, not after.

    The paper's undefended control. It shows that the mean of vectors defends, not the vote. The index holds
    C(N, k) vectors a document.
    """

    name: ClassVar[str] = "concatenated"

    fragments: int = 5
    combination: int = 3

    def __post_init__(self) -> None:
        check_combinations(self.fragments, self.combination)

    @property
    def layout(self) -> Layout:
        """The vectors of all rejoined texts."""
        return Layout(
            whole=False, fragments=self.fragments, combination=self.combination, concatenations=True
        )

    def retrieve(self, vectors: StoredVectors, query: Vectors, top: int) -> list[Ranked]:
        """At most `top` rows in the order of RAGPart: by votes, then by mean similarity, then by row."""
        return Election(self.name).ranked(self._scores(vectors, query), top)

    def reasons(
        self, vectors: StoredVectors, query: Vectors, rows: Sequence[int], top: int
    ) -> list[Reason | None]:
        """How many rejoined texts voted for each of `rows`, where `top` are asked for."""
        return list(Election(self.name).judged(self._scores(vectors, query), rows, top))

    def _scores(self, vectors: StoredVectors, query: Vectors) -> Scores:
        stored = np.asarray(vectors.concatenations)
        rows, texts = len(stored), comb(self.fragments, self.combination)
        if stored.shape[1:] != (texts, len(query)):
            raise ConfigError(
                f"the index holds vectors of rejoined texts of shape {stored.shape}; expected {texts} a "
                f"document, of {len(query)} dimensions: build it anew for this"
            )
        scores = (stored.reshape(rows * texts, len(query)) @ query).reshape(rows, texts).T
        return without_deleted(np.ascontiguousarray(scores), vectors.alive)


def _unanimous(scores: Scores, top: int) -> list[Ranked]:
    return [Ranked(int(row), float(scores[row])) for row in best_rows(scores, top)]
