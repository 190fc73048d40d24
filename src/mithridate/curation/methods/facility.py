"""Facility location: the chosen are to stand for all others as well as possible (Wei, Iyer and Bilmes 2015).

What is made as great as possible is the sum, over a set of examples, of each one's similarity to its nearest
chosen. It is submodular, so the greedy choice reaches at least 1 - 1/e of the best, and lazily done (Minoux
1978) it is the same and asks far fewer times.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mithridate.curation.pool import MethodOptions, Pool, Rows, Selection
from mithridate.curation.vectors import SCALE, Floats, Grid

_AT_ONCE: Final = 32
_UNIT: Final = SCALE * SCALE


class FacilityOptions(MethodOptions):
    """`candidates`: how many are drawn, to choose from and to be stood for; at least four times n."""

    candidates: int = Field(20_000, ge=1)


class Facility:
    """Quality filters, then facility location over a random draw of candidates."""

    name: ClassVar[str] = "facility"
    filtered: ClassVar[bool] = True
    options_type: ClassVar[type[MethodOptions]] = FacilityOptions
    says: ClassVar[str] = "quality filters, then facility location among candidates"

    def choose(self, pool: Pool, n: int, options: MethodOptions) -> Selection:
        """Greedy facility location of the lowest draws."""
        assert isinstance(options, FacilityOptions)
        size = min(len(pool), max(options.candidates, 4 * n))
        drawn = np.sort(np.argsort(pool.draws, kind="stable")[:size])
        found, gains = lazy_greedy(pool.vectors[drawn], n)
        rows = drawn[found].astype(np.int64)
        score = np.full(len(pool), np.nan)
        score[rows] = gains
        left_for = np.ones(len(pool), np.int8)
        left_for[drawn] = 0
        return Selection(
            rows,
            tuple(f"adds {gain:.3f} to how well the candidates are stood for" for gain in gains),
            score,
            ("others stand for the candidates better", f"not among the {size:,} candidates"),
            left_for,
            notes={"candidates": float(size), "stood for": float(gains.sum() / size)},
        )


def lazy_greedy(vectors: Grid, n: int) -> tuple[Rows, NDArray[np.float64]]:
    """`n` rows by greedy facility location, and what each added to the sum; of equal ones the first.

    Similarity is the cosine, and below 0 counts as 0, as that to nothing. The cost is rows squared times
    dimension at first, and a few dozen candidates times rows times dimension for each choice.
    """
    rows = vectors.astype(np.float32)
    covered = np.zeros(len(rows), np.float32)
    bound = np.concatenate(
        [_gains(rows, covered, np.arange(s, min(s + 256, len(rows)))) for s in range(0, len(rows), 256)]
    )
    seen = np.zeros(len(rows), np.int64)
    chosen: list[int] = []
    gains: list[float] = []
    while len(chosen) < n:
        row = _best(rows, covered, bound, seen, len(chosen))
        chosen.append(row)
        gains.append(float(bound[row]) / _UNIT)
        bound[row] = -1
        covered = np.maximum(covered, rows @ rows[row])
    return np.array(chosen, np.int64), np.array(gains)


def _best(
    rows: Floats, covered: Floats, bound: NDArray[np.float64], seen: NDArray[np.int64], now: int
) -> int:
    """The first row of the greatest gain; gains only fall, so an old one is an upper bound."""
    while True:
        top = int(np.argmax(bound))
        if bound[top] == 0:
            return top  # no gain is below 0, so all that may be is
        if seen[top] == now:
            level = np.flatnonzero(bound == bound[top])
            stale = level[seen[level] < now]
            if not len(stale):
                return top
            asked = stale[:_AT_ONCE]
        else:
            likely = np.argpartition(-bound, min(_AT_ONCE, len(bound) - 1))[:_AT_ONCE]
            asked = likely[seen[likely] < now]
            asked = np.union1d(asked[bound[asked] >= 0], [top])
        bound[asked] = _gains(rows, covered, asked)
        seen[asked] = now


def _gains(rows: Floats, covered: Floats, asked: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each of the rows `asked` would add, in whole numbers, which double precision adds up exactly."""
    found = rows @ rows[asked].T
    found -= covered[:, None]
    np.maximum(found, 0, out=found)
    gains: NDArray[np.float64] = found.sum(axis=0, dtype=np.float64)
    return gains
