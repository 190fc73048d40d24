"""k-centre greedy (Gonzalez 1985) over embeddings, source by source: always what is farthest from the chosen.

The farthest of the rest is at most twice as far from its nearest chosen as the best choice of as many could
make it. Sources get their shares first, so that an odd one does not fill the selection with its oddities.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from pydantic import Field

from mithridate.curation.pool import Doubles, MethodOptions, Pool, Rows, Selection, shares
from mithridate.curation.vectors import Floats, Grid, distance, squared_distances

_BLOCK: Final = 1024
_FIRST_SORT: Final = 8
_SORT_EVERY: Final = 128


class DiverseOptions(MethodOptions):
    """`temperature`: 1 gives each source what it is of the whole; the greater, the more equal the shares."""

    temperature: float = Field(3.0, ge=1, le=1000)


class Diverse:
    """Quality filters, then k-centre greedy within each source."""

    name: ClassVar[str] = "diverse"
    filtered: ClassVar[bool] = True
    options_type: ClassVar[type[MethodOptions]] = DiverseOptions
    says: ClassVar[str] = "quality filters, then k-centre greedy within each source"

    def choose(self, pool: Pool, n: int, options: MethodOptions) -> Selection:
        """The shares of the sources, by their names, and of each the farthest-first traversal."""
        assert isinstance(options, DiverseOptions)
        sizes = np.bincount(pool.sources, minlength=len(pool.names))
        rows: list[Rows] = []
        why: list[str] = []
        score = np.full(len(pool), np.nan)
        widest = 0.0
        for source, share in enumerate(shares(sizes, n, options.temperature)):
            own = np.flatnonzero(pool.sources == source)
            if not share:
                continue
            found, apart, nearest = k_centre(pool.vectors[own], int(share))
            rows.append(own[found])
            score[own] = distance(nearest)
            score[own[found]] = apart
            why += ["the first of its source"]
            why += [f"farthest from the chosen of its source: {far:.3f}" for far in apart[1:]]
            widest = max(widest, float(distance(nearest.max())))
        return Selection(
            np.concatenate(rows),
            tuple(why),
            score,
            ("nearer to a chosen one of its source than others, or its source has no share",),
            notes={"radius": widest},
        )


def k_centre(vectors: Grid, k: int) -> tuple[Rows, Doubles, Floats]:
    """Farthest-first traversal from row 0: `k` rows, how far each was, and each row's squared distance now.

    Of equally far ones the first is taken. The distance of the first is NaN.

    Distances only fall, so one that was computed for fewer centres is an upper bound. Rows lie in blocks by
    their bounds; a block is brought up to date, against all centres that it has not seen, when its greatest
    bound is the greatest of all. The result is that of comparing every row with every centre. The cost is at
    most rows times centres times dimension.
    """
    state = _Lazy(vectors, k)
    chosen = [0]
    apart = [np.nan]
    state.add(0)
    while len(chosen) < k:
        row, far = state.farthest()
        chosen.append(row)
        apart.append(float(distance(far)))
        state.add(row)
    return np.array(chosen, np.int64), np.array(apart), state.all_nearest()


class _Lazy:
    """Upper bounds of squared distances to the nearest centre, brought up to date where they must be."""

    def __init__(self, vectors: Grid, k: int) -> None:
        self._vectors = vectors
        self._bound = np.full(len(vectors), np.inf, np.float32)
        self._centres: Floats = np.zeros((k, vectors.shape[1]), np.float32)
        self._count = 0
        self._taken = np.zeros(len(vectors), bool)
        self._sort()

    def add(self, row: int) -> None:
        """Another centre: row `row`, which is not found again while others are left."""
        self._taken[row] = True
        self._bound[row] = -1
        self._centres[self._count] = self._vectors[row]
        self._count += 1
        if self._count % _SORT_EVERY == 0 or self._count == _FIRST_SORT:
            self._refresh_all()
            self._sort()
        else:
            block = int(self._block_of[row])
            self._greatest[block] = self._bound[self._order[block * _BLOCK : (block + 1) * _BLOCK]].max()

    def farthest(self) -> tuple[int, float]:
        """The first of the rows that are farthest from their nearest centre, and its squared distance."""
        while True:
            best = self._greatest.max()
            level = np.flatnonzero(self._greatest == best)
            stale = level[self._seen[level] < self._count]
            if not len(stale):
                break
            self._refresh(int(stale[0]))
        rows = np.concatenate([self._order[b * _BLOCK : (b + 1) * _BLOCK] for b in level])
        return int(rows[self._bound[rows] == best].min()), float(best)

    def all_nearest(self) -> Floats:
        """Squared distances of all rows to their nearest centres; a centre's own is 0."""
        self._refresh_all()
        return np.where(self._taken, np.float32(0), self._bound)

    def _refresh(self, block: int) -> None:
        rows = self._order[block * _BLOCK : (block + 1) * _BLOCK]
        fresh = self._centres[self._seen[block] : self._count]
        if len(fresh):
            found = squared_distances(self._vectors[rows].astype(np.float32), fresh).min(axis=1)
            self._bound[rows] = np.where(self._taken[rows], -1, np.minimum(self._bound[rows], found))
        self._seen[block] = self._count
        self._greatest[block] = self._bound[rows].max()

    def _refresh_all(self) -> None:
        for block in range(len(self._seen)):
            self._refresh(block)

    def _sort(self) -> None:
        """Rows with like bounds into one block; all are up to date."""
        self._order = np.argsort(-self._bound, kind="stable")
        self._block_of = np.zeros(len(self._order), np.int64)
        self._block_of[self._order] = np.arange(len(self._order)) // _BLOCK
        starts = np.arange(0, len(self._order), _BLOCK)
        self._seen = np.full(len(starts), self._count, np.int64)
        self._greatest = np.maximum.reduceat(self._bound[self._order], starts)
