"""RAGPart: documents are cut into fragments, and combinations of fragments vote (arXiv 2512.24268)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import ClassVar

from mithridate.retrieval.base import Layout, Ranked, Reason, StoredVectors, Vectors
from mithridate.retrieval.fragments import check_combinations
from mithridate.retrieval.votes import Election, Vote, combination_scores


@dataclass(frozen=True, slots=True)
class RAGPart:
    """A document counts as near a query if most combinations of `combination` of its `fragments` are.

    Each combination is the mean of its fragments' vectors. It votes for the documents that it ranks highest:
    `per_vote` of them, or as many as are asked for (the published form). A planted passage sits in few
    fragments, and its share of a mean is small.

    Documents are ranked by votes, then by the mean similarity of their combinations, then by row number.
    Under `vote="majority"` one looks planted that fewer than half of the combinations voted for; under
    "intersection", one that not all did. That is what `Mode.DROP` leaves out; the order is the same.

    Raises ConfigError for a combination that cannot be, or of which there would be too many.
    """

    name: ClassVar[str] = "ragpart"

    fragments: int = 5
    combination: int = 3
    vote: Vote = "majority"
    per_vote: int | None = None

    def __post_init__(self) -> None:
        check_combinations(self.fragments, self.combination)
        self._election()

    @property
    def layout(self) -> Layout:
        """The fragments' vectors, and the lengths of their combinations' means."""
        return Layout(whole=False, fragments=self.fragments, combination=self.combination)

    def retrieve(self, vectors: StoredVectors, query: Vectors, top: int) -> list[Ranked]:
        """At most `top` rows, best first; see the class for the order."""
        scores = combination_scores(vectors, query, self.fragments, self.combination)
        return self._election().ranked(scores, top)

    def reasons(
        self, vectors: StoredVectors, query: Vectors, rows: Sequence[int], top: int
    ) -> list[Reason | None]:
        """How many combinations voted for each of `rows`, where `top` are asked for."""
        scores = combination_scores(vectors, query, self.fragments, self.combination)
        return list(self._election().judged(scores, rows, top))

    def tolerates(self) -> int:
        """How many poisoned fragments of a document leave the majority of its combinations clean.

        A combination counts as poisoned if it holds two poisoned fragments or more, since a single one is
        outweighed in the mean; where a combination is one fragment, nothing outweighs it. This is the paper's
        analysis of the first hit: no guarantee for voting on several.
        """
        n, k = self.fragments, self.combination
        tolerated = 0
        while tolerated < n and 2 * poisoned_combinations(n, k, tolerated + 1) < comb(n, k):
            tolerated += 1
        return tolerated

    def _election(self) -> Election:
        return Election(self.name, self.vote, self.per_vote)


def poisoned_combinations(n: int, k: int, poisoned: int) -> int:
    """How many combinations of `k` out of `n` fragments count as poisoned if so many of these are.

    All, less those without a poisoned fragment, less those with exactly one (unless that one is all there
    is in them).
    """
    outweighed = poisoned * comb(n - poisoned, k - 1) if k > 1 else 0
    return comb(n, k) - comb(n - poisoned, k) - outweighed
