"""Unit vectors on a grid of whole numbers, on which single precision is exact.

Each is scaled to a length of about 2,000 and rounded. Then all dot products and squared distances are whole
numbers below 2^24, which float32 holds exactly, whatever the order in which BLAS adds them up. So which
example is chosen depends neither on blocks nor on threads. The rounding turns a vector by less than a
hundredth (half the root of the dimension over 2,000).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mithridate.core.errors import EncoderError

SCALE: Final = 2000
MOST_DIMENSIONS: Final = 2048
ROWS_AT_ONCE: Final = 8192

Grid: TypeAlias = NDArray[np.int16]
Floats: TypeAlias = NDArray[np.float32]


def on_grid(rows: NDArray[np.float32]) -> Grid:
    """Unit rows, shape (n, dimension), on the grid. Raises EncoderError for more than 2,048 dimensions."""
    if rows.shape[1] > MOST_DIMENSIONS:
        raise EncoderError(
            f"vectors of {rows.shape[1]:,} dimensions; curation compares at most {MOST_DIMENSIONS:,}"
        )
    return np.rint(rows * SCALE).astype(np.int16)


def squares(rows: Floats) -> Floats:
    """Squared lengths, on the scale of the grid."""
    found: Floats = np.einsum("nd,nd->n", rows, rows)
    return found


def squared_distances(rows: Floats, centres: Floats) -> Floats:
    """Squared Euclidean distances of grid rows to grid centres, shape (rows, centres), exactly."""
    found: Floats = rows @ centres.T
    found *= -2
    found += squares(rows)[:, None]
    found += squares(centres)[None, :]
    return found


def distance(squared: float | Floats) -> NDArray[np.float64]:
    """Euclidean distances of unit vectors, 0 to 2, from squared ones on the grid's scale."""
    return np.sqrt(np.maximum(np.asarray(squared, np.float64), 0)) / SCALE


def blocks(vectors: Grid, at_once: int = ROWS_AT_ONCE) -> Iterator[tuple[slice, Floats]]:
    """The rows some thousand at a time, in single precision."""
    for start in range(0, len(vectors), at_once):
        part = slice(start, min(start + at_once, len(vectors)))
        yield part, vectors[part].astype(np.float32)


def nearest(vectors: Grid, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
    """For each row, which of the rows `chosen` is nearest, as a place in `chosen`, and the squared distance.

    A chosen row's nearest is another one; alone, it has none: -1 and infinity. The cost grows as rows times
    chosen times dimension.
    """
    which = np.full(len(vectors), -1, np.int64)
    squared = np.full(len(vectors), np.inf, np.float32)
    place = np.full(len(vectors), -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    for start in range(0, len(chosen), 1024):
        centres = vectors[chosen[start : start + 1024]].astype(np.float32)
        for part, rows in blocks(vectors, 4096):
            found = squared_distances(rows, centres)
            own = place[part] - start
            mine = np.flatnonzero((own >= 0) & (own < len(centres)))
            found[mine, own[mine]] = np.inf
            best = found.argmin(axis=1)
            value = found[np.arange(len(rows)), best]
            closer = value < squared[part]
            which[part] = np.where(closer, best + start, which[part])
            squared[part] = np.where(closer, value, squared[part])
    return which, squared
