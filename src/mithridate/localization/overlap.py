"""Whether two behaviours lie in the same layers: profiles over layers, and how far they overlap.

From rows alone, so that figures can be made again without a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mithridate.core.located import Control, Direction, Experiment, Family, Located, Metric
from mithridate.core.permutations import Tails, orders, tails


@dataclass(frozen=True, slots=True)
class Profile:
    """How a behaviour spreads over layers: `shares`, which sum to 1, of `layers` from the bottom up.

    Layers as in `Located`: -1 are the embeddings, n of n blocks is what lies behind them.
    """

    layers: tuple[int, ...]
    shares: tuple[float, ...]

    @property
    def depth(self) -> float:
        """The centre of mass: 0 is all in the lowest layer, 1 all in the highest."""
        places = np.linspace(0.0, 1.0, len(self.layers))
        return float(places @ np.array(self.shares))

    def share(self, low: int, high: int) -> float:
        """What lies in the layers from `low` to `high`, both included."""
        return sum(s for layer, s in zip(self.layers, self.shares, strict=True) if low <= layer <= high)


def profile(rows: Iterable[Located], *, uncorrected: bool = False) -> Profile | None:
    """The profile of one behaviour from the rows of one comparison of models.

    It is what single layers carry of the effect beyond what a random change of the same size carries there,
    on average over both directions; what is below 0 counts as nothing. Any damage takes a behaviour away, and
    without that correction a profile would show what is easily damaged: `uncorrected` leaves it out. Only the
    layers that went both ways count, and were changed at random too. None where there are fewer than two, or
    none of them carries anything.
    """
    carried: dict[int, dict[str, float]] = {}
    chance: dict[int, dict[str, float]] = {}
    for row in rows:
        if row.experiment is not Experiment.TRANSPLANT or row.metric is not Metric.CARRIED:
            continue
        if row.family == Family.SINGLE and row.layer is not None:
            if not row.control:
                carried.setdefault(row.layer, {})[row.direction] = row.value
            elif row.control == Control.RANDOM_CHANGE:
                chance.setdefault(row.layer, {})[row.direction] = max(0.0, row.value)
    if uncorrected:
        chance = {layer: dict.fromkeys(Direction, 0.0) for layer in carried}
    ways = set(Direction)
    whole = [layer for layer, found in carried.items() if ways <= found.keys() & chance.get(layer, {}).keys()]
    return scaled(
        {
            layer: sum(max(0.0, carried[layer][way] - chance[layer][way]) for way in Direction) / 2
            for layer in whole
        }
    )


def scaled(carried: dict[int, float]) -> Profile | None:
    """What each layer carries as a profile, or None as `profile` says."""
    positive = {layer: max(0.0, value) for layer, value in sorted(carried.items())}
    total = sum(positive.values())
    if len(positive) < 2 or not 0 < total < np.inf:
        return None
    return Profile(tuple(positive), tuple(value / total for value in positive.values()))


def mean_profile(profiles: Sequence[Profile]) -> Profile | None:
    """The mean of profiles over the same layers, each of which counts the same; None for none.

    Raises ValueError where the layers differ.
    """
    if not profiles:
        return None
    _require_same_layers(profiles)
    shares = np.mean([found.shares for found in profiles], axis=0)
    return Profile(profiles[0].layers, tuple(map(float, shares)))


def overlap(one: Profile, other: Profile) -> float:
    """The sum over layers of the smaller share: 0 where profiles are disjoint, 1 where they are the same.

    It is 1 minus their total variation distance. Raises ValueError where the layers differ.
    """
    _require_same_layers((one, other))
    return min(1.0, float(np.minimum(one.shares, other.shares).sum()))


def chance_of_overlap(one: Profile, other: Profile, *, seed: int = 0) -> Tails:
    """How often `one`, its shares dealt anew to the layers, overlaps so little or so much with `other`.

    Raises ValueError where the layers differ.
    """
    observed = overlap(one, other)
    rng = np.random.default_rng(seed)
    dealt = np.array(one.shares)[orders(len(one.layers), rng)]
    found = np.minimum(dealt, np.array(other.shares)).sum(axis=1)
    return tails(observed, found, math.factorial(len(one.layers)))


def _require_same_layers(profiles: Sequence[Profile]) -> None:
    layers = {found.layers for found in profiles}
    if len(layers) > 1:
        raise ValueError(f"profiles over different layers: {' and '.join(map(str, sorted(layers)))}")
