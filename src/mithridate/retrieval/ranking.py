"""Order: the best of many scores, similarities that depend on nothing else, scores that fall with rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mithridate.core.errors import ConfigError
from mithridate.retrieval.base import Hit, Reason, Vectors

Scores: TypeAlias = NDArray[np.floating[Any]]

_BLOCK = 64


def best_rows(scores: Scores, top: int) -> NDArray[np.intp]:
    """The rows of the `top` highest of `scores`, shape (n,), best first, ties by row number.

    Rows of score -inf are never among them.
    """
    if top < 1:
        return np.empty(0, np.intp)
    rows = np.flatnonzero(scores >= _lower_bound(scores, top))
    rows = rows[scores[rows] > -np.inf]
    return rows[np.argsort(-scores[rows], kind="stable")][:top]


def _lower_bound(scores: Scores, top: int) -> float:
    """A number that at least `top` of the scores reach, and few others; -inf where there are not enough."""
    whole = len(scores) // _BLOCK * _BLOCK
    # As many blocks as are asked for hold a score that reaches the lowest of their maxima. To compare
    # maxima is many times cheaper than to partition all scores.
    maxima = scores[:whole].reshape(-1, _BLOCK).max(axis=1)
    if len(maxima) < top:
        return -np.inf
    return float(np.partition(maxima, len(maxima) - top)[len(maxima) - top])


def similarities(vectors: Vectors, query: Vectors) -> NDArray[np.float64]:
    """The dot product of each row with `query`, shape (n,).

    Summed row by row in double precision: unlike a matrix product, it gives a row the same figure whatever
    rows stand beside it, so that thresholds decide alike in whatever batches vectors come.
    """
    sums: NDArray[np.float64] = np.multiply(vectors, query, dtype=np.float64).sum(axis=1)
    return sums


def capped(hits: Sequence[Hit]) -> list[Hit]:
    """The hits in their order, with no score above that of the hit before.

    Frameworks that sort by score again would otherwise undo a defence's order.
    """
    found: list[Hit] = []
    for hit in hits:
        lowest = found[-1].score if found else hit.score
        found.append(replace(hit, score=lowest) if hit.score > lowest else hit)
    return found


def with_reason(hit: Hit, reason: Reason) -> Hit:
    """The hit with one reason more."""
    return replace(hit, reasons=(*hit.reasons, reason))


def unseen(defense: str, hits: Sequence[Hit]) -> list[Hit]:
    """Hits that came too far behind for a defence to look at."""
    reason = Reason(defense, suspicious=False, says="too far behind the first hits to be looked at")
    return [with_reason(hit, reason) for hit in hits]


def demoted(hits: Sequence[Hit], reasons: Sequence[Reason]) -> list[Hit]:
    """Each hit with its reason, those that one makes suspicious behind all others; else in their order."""
    marked = list(zip(hits, reasons, strict=True))
    marked.sort(key=lambda pair: pair[1].suspicious)
    return capped([with_reason(hit, reason) for hit, reason in marked])


def check_breadth(factor: int) -> None:
    """Raise ConfigError for a breadth factor that is not positive."""
    if factor < 1:
        raise ConfigError(f"breadth_factor is {factor}, but must be at least 1")
