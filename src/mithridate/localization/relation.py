"""Whether two figures of attacks go together over seeds: a rank correlation, and what chance makes of it.

From rows alone, so that figures can be made again without a model.
"""

from __future__ import annotations

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
    """Spearman's rho over `points`, None where one of the figures is the same everywhere.

    `within` is tested by exchanging attacks within each seed. `whole`, by exchanging them in all seeds alike:
    it does not take an attack that behaves the same in every seed for several. It is None where fewer than
    two attacks have a point in every seed. `detectable` is the smallest |rho| found with 80 % power.
    """

    points: tuple[Point, ...]
    rho: float | None
    within: Tails | None
    whole: Tails | None
    detectable: float


def relation(points: Sequence[Point], *, alpha: float = 0.05) -> Relation:
    """The relation of x and y over `points`, at most one for each attack and seed."""
    given = tuple(points)
    detectable = detectable_rank_correlation(len(given), alpha)
    if len({point.x for point in given}) < 2 or len({point.y for point in given}) < 2:
        return Relation(given, None, None, None, detectable)
    x, y = (_ranks([getattr(point, name) for point in given]) for name in "xy")
    permuted, ways = orders_within([point.seed for point in given], _generator("within"))
    rho = float(x @ y)
    return Relation(given, rho, tails(rho, y[permuted] @ x, ways), _whole(given), detectable)


def _whole(points: Sequence[Point]) -> Tails | None:
    """The test over attacks as wholes, on those that have a point in every seed."""
    seeds = sorted({point.seed for point in points})
    at = {(point.attack, point.seed): point for point in points}
    attacks = [a for a in dict.fromkeys(p.attack for p in points) if all((a, s) in at for s in seeds)]
    kept = [at[attack, seed] for attack in attacks for seed in seeds]
    if len(attacks) < 2 or len({p.x for p in kept}) < 2 or len({p.y for p in kept}) < 2:
        return None
    x, y = (_ranks([getattr(point, name) for point in kept]) for name in "xy")
    chosen = orders(len(attacks), _generator("whole"))
    places = np.arange(len(kept)).reshape(len(attacks), len(seeds))
    permuted = places[chosen].reshape(len(chosen), -1)
    ways = int(np.prod(np.arange(1, len(attacks) + 1, dtype=object)))
    return tails(float(x @ y), y[permuted] @ x, ways)


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Ranks, centred and of length 1: the product of two such is Spearman's rho."""
    ranks = rankdata(values)
    centred = ranks - ranks.mean()
    found: NDArray[np.float64] = centred / np.linalg.norm(centred)
    return found


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(derive_seed(0, "relation", name))
