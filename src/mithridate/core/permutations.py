"""Permutation tests: how often chance alone brings a figure that low, or that high."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST = 10_000
"""Where there are more ways than this to permute, so many are drawn instead."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Tails:
    """One-sided p-values of a figure: `lower` of one so low, `upper` of one so high.

    `smallest` is the smallest p that the number of ways to permute allows, whatever the data.
    """

    lower: float
    upper: float
    smallest: float


def tails(observed: float, permuted: NDArray[np.float64], ways: int) -> Tails:
    """Where `observed` lies among `permuted`: all of the `ways`, itself among them, or draws from them.

    Of draws, the figure itself is counted as one more (Phipson and Smyth 2010, arXiv 1603.05766).
    """
    own = 0 if permuted.size == ways else 1
    total = permuted.size + own
    low, high = (int((sign * (permuted - observed) <= _ROUNDING).sum()) for sign in (1, -1))
    return Tails((low + own) / total, (high + own) / total, 1 / total)


def orders(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """All orders of `count` things, a row each, where there are at most `MOST`; else so many drawn ones."""
    if math.factorial(count) <= MOST:
        return np.array(list(itertools.permutations(range(count))), dtype=np.int64).reshape(-1, count)
    return rng.permuted(np.tile(np.arange(count), (MOST, 1)), axis=1)


def orders_within(groups: Sequence[int], rng: np.random.Generator) -> tuple[NDArray[np.int64], int]:
    """Orders of the places 0, 1, … that keep each place in its group, a row each, and how many there are.

    `groups` names the group of each place. All orders where there are at most `MOST`; else so many drawn
    ones.
    """
    members = [[i for i, of in enumerate(groups) if of == group] for group in dict.fromkeys(groups)]
    ways = math.prod(math.factorial(len(places)) for places in members)
    if ways <= MOST:
        each = [list(itertools.permutations(places)) for places in members]
        found = np.empty((ways, len(groups)), dtype=np.int64)
        for row, chosen in enumerate(itertools.product(*each)):
            for places, order in zip(members, chosen, strict=True):
                found[row, places] = order
        return found, ways
    found = np.empty((MOST, len(groups)), dtype=np.int64)
    for places in members:
        found[:, places] = rng.permuted(np.tile(places, (MOST, 1)), axis=1)
    return found, ways


def sign_flips(values: Sequence[float], seed: int = 0) -> Tails:
    """Whether the mean of paired differences is other than 0: each could as well have the other sign.

    Raises ValueError for no values.
    """
    data = np.asarray(values, dtype=float)
    if not data.size:
        raise ValueError("no differences to flip the signs of")
    ways = 2**data.size
    if ways <= MOST:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=data.size)))
    else:
        signs = np.random.default_rng(seed).choice((1.0, -1.0), (MOST, data.size))
    return tails(float(data.mean()), (signs * data).mean(axis=1), ways)
