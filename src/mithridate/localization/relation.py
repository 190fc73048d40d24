"""Whether two figures of attacks go together over seeds: a rank correlation, and what chance makes of it.

From rows alone, so that figures can be made again without a model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from mithridate.core.permutations import Tails, orders, orders_within, tails
from mithridate.core.seeds import derive_seed
from mithridate.core.statistics import detectable_rank_correlation


@dataclass(frozen=True, slots=True)
class Point:
    """Two figures of one attack at one seed."""

    attack: str
    seed: int
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Relation:
    """Spearman's rho of x and y within seeds, None where one of them does not differ within any seed.

    Ranks are taken within each seed: seeds differ as wholes, and exchanging attacks within them leaves that
    as it is, so that rho over all ranks would not be 0 by chance. `points` are those of seeds that have two
    or more. `within` is tested by exchanging attacks within each seed. `whole`, by exchanging them in all
    seeds alike: it does not take an attack that behaves the same in every seed for several. It is None where
    fewer than two attacks have a point in every seed. `detectable` is the smallest |rho| found with 80 %
    power.
    """

    points: tuple[Point, ...]
    rho: float | None
    within: Tails | None
    whole: Tails | None
    detectable: float


def relation(points: Sequence[Point], *, alpha: float = 0.05) -> Relation:
    """The relation of x and y over `points`, at most one for each attack and seed."""
    counts = Counter(point.seed for point in points)
    given = tuple(point for point in points if counts[point.seed] > 1)
    # Each further seed has a mean of its own, which costs a point.
    seeds = len({point.seed for point in given})
    detectable = detectable_rank_correlation(len(given) - max(0, seeds - 1), alpha)
    ranks = _ranks(given)
    if ranks is None:
        return Relation(given, None, None, None, detectable)
    x, y = ranks
    permuted, ways = orders_within([point.seed for point in given], _generator("within"))
    rho = float(x @ y)
    return Relation(given, rho, tails(rho, y[permuted] @ x, ways), _whole(given), detectable)


def _whole(points: Sequence[Point]) -> Tails | None:
    """The test over attacks as wholes, on those that have a point in every seed."""
    seeds = sorted({point.seed for point in points})
    at = {(point.attack, point.seed): point for point in points}
    attacks = [a for a in dict.fromkeys(p.attack for p in points) if all((a, s) in at for s in seeds)]
    ranks = _ranks([at[attack, seed] for attack in attacks for seed in seeds])
    if ranks is None:
        return None
    x, y = ranks
    chosen = orders(len(attacks), _generator("whole"))
    places = np.arange(len(x)).reshape(len(attacks), len(seeds))
    permuted = places[chosen].reshape(len(chosen), -1)
    return tails(float(x @ y), y[permuted] @ x, math.factorial(len(attacks)))


def _ranks(points: Sequence[Point]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The ranks of x and of y within their seeds, centred and of length 1: their product is rho."""
    seeds = np.array([point.seed for point in points], dtype=np.int64)
    found = []
    for values in (np.array([p.x for p in points]), np.array([p.y for p in points])):
        centred = np.zeros(len(points))
        for seed in np.unique(seeds):
            ranks = rankdata(values[seeds == seed])
            centred[seeds == seed] = ranks - ranks.mean()
        length = float(np.linalg.norm(centred))
        if length == 0:
            return None
        found.append(centred / length)
    return found[0], found[1]


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(0, "relation", name))
