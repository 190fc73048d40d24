"""What a choice covers: a picture in two dimensions, and how near examples are to the nearest chosen one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mithridate.curation.curating import Curated
from mithridate.curation.pool import Doubles
from mithridate.curation.vectors import SCALE, Grid, blocks, nearest

CELLS: Final = 60
MOST_POINTS: Final = 3000
_MOST_COMPARED: Final = 20_000
_ROWS: Final = 4096


@dataclass(frozen=True)
class Coverage:
    """All examples by how many lie in each cell, and the chosen as points, both along two principal axes.

    `cells` (CELLS, CELLS) has rows along `y` and columns along `x`, of which the centres are given. `points`
    (m, 2) are at most 3,000 of the chosen, evenly, and `sources` (m,) theirs. `explained` are the shares of
    variance of the two axes.
    """

    cells: NDArray[np.int64]
    x: Doubles
    y: Doubles
    points: Doubles
    sources: NDArray[np.int32]
    explained: tuple[float, float]


def coverage(curated: Curated) -> Coverage:
    """The picture of a curation, by principal components of all its embedded requests."""
    vectors = curated.found.vectors
    mean, axes, explained = principal_axes(vectors)
    projected = np.zeros((len(vectors), 2))
    for part, rows in blocks(vectors, _ROWS):
        projected[part] = (rows.astype(np.float64) - mean) @ axes
    projected /= SCALE
    counts, x, y = np.histogram2d(projected[:, 0], projected[:, 1], CELLS)
    shown = curated.chosen
    if len(shown) > MOST_POINTS:
        shown = shown[np.linspace(0, len(shown) - 1, MOST_POINTS).astype(np.int64)]
    return Coverage(
        cells=counts.T.astype(np.int64),
        x=(x[1:] + x[:-1]) / 2,
        y=(y[1:] + y[:-1]) / 2,
        points=projected[shown],
        sources=curated.found.sources[shown],
        explained=explained,
    )


def principal_axes(vectors: Grid) -> tuple[Doubles, Doubles, tuple[float, float]]:
    """The mean (d,), the first two principal axes (d, 2), and their shares of the variance.

    The sums are of whole numbers, so they are exact. An axis points to where its greatest entry is positive.
    """
    dimension = vectors.shape[1]
    total, products = np.zeros(dimension), np.zeros((dimension, dimension))
    for _, rows in blocks(vectors, _ROWS):
        exact = rows.astype(np.float64)
        total += exact.sum(axis=0)
        products += exact.T @ exact
    mean = total / len(vectors)
    values, found = np.linalg.eigh(products / len(vectors) - np.outer(mean, mean))
    axes = found[:, [-1, -2]]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    whole = max(float(values.clip(0).sum()), 1e-12)
    first, second = (max(float(values[i]), 0.0) / whole for i in (-1, -2))
    return mean, axes, (first, second)


def nearness(curated: Curated) -> dict[str, float]:
    """How like examples are to the nearest chosen one, on average, beside a random draw of as many.

    At most 20,000 of those that passed the filters are asked: those whose draw comes last, so that few or
    none of the random ones are among them.
    """
    asked = curated.passed[-_MOST_COMPARED:]
    drawn = curated.passed[: curated.options.n]
    return {
        "mean similarity to the nearest chosen": _mean_similarity(curated, asked, curated.chosen),
        "the same, of a random draw that passed the filters": _mean_similarity(curated, asked, drawn),
    }


def _mean_similarity(curated: Curated, asked: NDArray[np.int64], chosen: NDArray[np.int64]) -> float:
    """1 where an asked one is chosen itself."""
    both = np.concatenate([chosen, asked])
    _, squared = nearest(curated.found.vectors[both], np.arange(len(chosen)))
    similarity = 1 - squared[len(chosen) :].astype(np.float64) / (2 * SCALE * SCALE)
    return float(similarity.clip(-1, 1).mean())
