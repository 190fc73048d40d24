"""Intervals of means and of ratios of means over pairs, by drawing the pairs again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mithridate.core.statistics import Interval

DRAWS = 1000

Values: TypeAlias = NDArray[np.float64]


class Resampled:
    """Pairs that are drawn again, with replacement, the same draws for every figure.

    Pairs of one unit (a preference in both orders) are one observation and drawn together: `units` names that
    of each pair. The bootstrap is paired: what is compared is compared within each draw.
    """

    def __init__(self, units: Sequence[str], seed: int) -> None:
        names = {name: number for number, name in enumerate(dict.fromkeys(units))}
        self._unit = np.array([names[name] for name in units], dtype=int)
        count = len(names)
        rng = np.random.default_rng(seed)
        shares = np.full(max(count, 1), 1 / max(count, 1))
        drawn = rng.multinomial(count, shares, size=DRAWS).astype(float)
        self._weights: Values = drawn[:, self._unit]

    def mean(self, values: Values, among: NDArray[np.bool_] | None = None) -> Interval:
        """The mean of `values`, one a pair, over those pairs that are `among` them; 0 over none."""
        return self.ratio(values, np.ones_like(values), among)

    def ratio(self, top: Values, bottom: Values, among: NDArray[np.bool_] | None = None) -> Interval:
        """The mean of `top` over that of `bottom`, one value a pair each.

        `n` counts units. Draws in which nothing can be divided, because no pair was drawn or the lower mean
        is not above 0, are left out.
        """
        kept = np.ones(len(top), dtype=bool) if among is None else among
        n = len(set(self._unit[kept].tolist()))
        if not n:
            return Interval(0.0, None, None, 0)
        weights = self._weights[:, kept]
        above, below = weights @ top[kept], weights @ bottom[kept]
        drawn = above[below > 0] / below[below > 0]
        value = float(top[kept].mean() / bottom[kept].mean())
        # Rounding tells draws apart that agree; an interval of that width would be false certainty.
        if n < 2 or not drawn.size or np.ptp(drawn) <= 1e-12 * max(1.0, abs(value)):
            return Interval(value, None, None, n)
        low, high = np.quantile(drawn, (0.025, 0.975))
        return Interval(value, float(low), float(high), n)
