"""Voting: each combination of a document's fragments has a similarity to the query, and votes for its best.

RAGPart, arXiv 2512.24268.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mithridate.core.errors import ConfigError
from mithridate.retrieval.base import Ranked, Reason, StoredVectors, Vectors
from mithridate.retrieval.fragments import membership
from mithridate.retrieval.ranking import Scores, best_rows

Vote: TypeAlias = Literal["majority", "intersection"]

_ROWS_AT_ONCE = 4096
_NO_LENGTH = 1e-6
"""Below it a mean is nothing but rounding errors: its fragments cancel out, and it is like nothing."""


def combination_scores(vectors: StoredVectors, query: Vectors, n: int, k: int) -> Scores:
    """The cosine of the query and each combination's mean of fragments, shape (C(n, k), rows).

    The mean's dot product is the mean of the fragments' dot products, so one pass over the fragments serves
    all combinations. Deleted rows get -inf. Raises ConfigError if the index was not laid out for this.
    """
    stored, norms = np.asarray(vectors.fragments), vectors.norms
    table = membership(n, k)
    rows, dimension = len(stored), stored.shape[2]
    if stored.shape[1:] != (n, len(query)) or norms.shape != (rows, len(table)):
        raise ConfigError(
            f"the index holds fragments of shape {stored.shape} and norms of shape {norms.shape}, which do "
            f"not fit combinations of {k} out of {n} fragments of {len(query)} dimensions; build it anew"
        )
    products = (stored.reshape(rows * n, dimension) @ query).reshape(rows, n)
    takes = table.T / np.float32(k)
    scores = np.empty((len(table), rows), np.float32)
    for start in range(0, rows, _ROWS_AT_ONCE):  # What is computed of a block stays in the cache.
        block = slice(start, start + _ROWS_AT_ONCE)
        scores[:, block] = ((products[block] @ takes) / np.maximum(norms[block], _NO_LENGTH)).T
    return without_deleted(scores, vectors.alive)


def without_deleted(scores: Scores, alive: NDArray[np.bool_]) -> Scores:
    """`scores`, shape (..., rows), with -inf where a row is deleted; changed in place."""
    if not alive.all():
        scores[..., ~alive] = -np.inf
    return scores


@dataclass(frozen=True, slots=True)
class Election:
    """What decides for whom: `name` is the defence's, and each combination casts `per_vote` votes, or as many
    as rows are asked for."""

    name: str
    vote: Vote = "majority"
    per_vote: int | None = None

    def __post_init__(self) -> None:
        if self.vote not in ("majority", "intersection"):
            raise ConfigError(f"vote is {self.vote!r}; expected 'majority' or 'intersection'")
        if self.per_vote is not None and self.per_vote < 1:
            raise ConfigError(f"per_vote is {self.per_vote}, but must be at least 1")

    def ranked(self, scores: Scores, top: int) -> list[Ranked]:
        """The best `top` rows: by votes, then by the mean of the combinations' scores, then by row number.

        `scores` has the shape (combinations, rows). The score is that mean, cut where it is above that of the
        row before, so that scores fall with rank. Rows without a vote come last, and only where the others do
        not suffice.
        """
        rows, votes = self._votes(scores, top)
        missing = top - len(rows)
        if missing > 0:
            means = scores.mean(axis=0)
            means[rows] = -np.inf
            more = best_rows(means, missing)
            rows, votes = np.append(rows, more), np.append(votes, np.zeros(len(more), np.intp))
        means = _means(scores, rows)
        order = np.lexsort((rows, -means, -votes))[:top]
        reasons = self._reasons(votes[order], means[order], len(scores))
        falling = np.minimum.accumulate(means[order])
        return [
            Ranked(int(row), float(score), reason)
            for row, score, reason in zip(rows[order], falling, reasons, strict=True)
        ]

    def judged(self, scores: Scores, rows: Sequence[int], top: int) -> list[Reason]:
        """What the votes say of these rows where `top` are asked for."""
        voted = dict(zip(*self._votes(scores, top), strict=True))
        chosen = np.asarray(rows, np.intp)
        votes = np.array([voted.get(row, 0) for row in chosen], np.intp)
        return self._reasons(votes, _means(scores, chosen), len(scores))

    def _votes(self, scores: Scores, top: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The rows that got any vote, ascending, and how many each."""
        ballots = [best_rows(one, self.per_vote or top) for one in scores]
        rows, votes = np.unique(np.concatenate(ballots), return_counts=True)
        return rows, votes

    def _reasons(self, votes: NDArray[np.intp], means: Scores, combinations: int) -> list[Reason]:
        needed = combinations if self.vote == "intersection" else combinations / 2
        return [
            Reason(
                self.name,
                suspicious=bool(count < needed),
                says=f"{count} of {combinations} combinations of its fragments voted for it",
                evidence={"votes": int(count), "combinations": combinations, "similarity": float(mean)},
            )
            for count, mean in zip(votes, means, strict=True)
        ]


def _means(scores: Scores, rows: NDArray[np.intp]) -> Scores:
    means: Scores = scores[:, rows].mean(axis=0, dtype=np.float64)
    return means
