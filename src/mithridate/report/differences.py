"""How far two figures are apart, seed by seed, and figures that are put together of others."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from mithridate.core.statistics import Interval, mean_interval
from mithridate.report.estimates import Figure, tell_apart, whole_range


def difference(first: Mapping[int, Figure], second: Mapping[int, Figure]) -> Interval | None:
    """`first` less `second`, both shares: the mean over the seeds that both have; None if there is none.

    `n` counts seeds. From three on the interval is that of a t-test over seeds, cut at -1 and 1, beyond which
    shares cannot differ. Below, or where all agree to the last digit, it is the range of each seed's own,
    which takes the two figures as independent: of two shares with Wilson intervals, Newcombe's.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    # Rounded: what differs by rounding alone has no spread that an interval could rest on.
    values = [round(first[seed].value - second[seed].value, 9) for seed in seeds]
    if tell_apart(values):
        found = mean_interval(values)
        low, high = (None if end is None else min(1.0, max(-1.0, end)) for end in (found.low, found.high))
        return Interval(found.value, low, high, len(seeds))
    each = [joined([(1.0, first[seed]), (-1.0, second[seed])]) for seed in seeds]
    low, high = whole_range([(one.low, one.high) for one in each])
    return Interval(sum(values) / len(values), low, high, len(seeds))


def joined(terms: Collection[tuple[float, Figure]]) -> Interval:
    """The weighted sum of independent figures, with an interval that is put together of theirs.

    By the square-and-add method of Zou and Donner 2008. It has none if one of the figures has none.
    """
    value, n = sum(weight * one.value for weight, one in terms), sum(one.n for _, one in terms)
    down: list[float] = []
    up: list[float] = []
    for weight, one in terms:
        if one.low is None or one.high is None:
            return Interval(value, None, None, n)
        below, above = weight * (one.value - one.low), weight * (one.high - one.value)
        down.append(below if weight > 0 else above)
        up.append(above if weight > 0 else below)
    return Interval(value, value - math.hypot(*down), value + math.hypot(*up), n)
