"""Intervals, tests and power, all from statsmodels and scipy; here they only get names and edge cases."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportion_effectsize,
)

CONFIDENCE = 0.95
POWER = 0.8

Bootstrap: TypeAlias = Literal["BCa", "percentile"]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate from `n` observations with its 95 % interval, if it has one."""

    value: float
    low: float | None
    high: float | None
    n: int


def wilson(successes: int, n: int) -> Interval:
    """A rate with its Wilson interval.

    Raises ValueError unless 0 <= successes <= n and n > 0.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials is no rate")
    low, high = proportion_confint(successes, n, alpha=1 - CONFIDENCE, method="wilson")
    return Interval(successes / n, float(low), float(high), n)


def mcnemar_exact(a: Sequence[bool], b: Sequence[bool]) -> float:
    """The two-sided p of exact McNemar: whether the same items succeed equally often under `a` and `b`."""
    table = np.zeros((2, 2), dtype=int)
    for left, right in zip(a, b, strict=True):
        table[int(left), int(right)] += 1
    if table[0, 1] + table[1, 0] == 0:
        return 1.0  # No item differs, so nothing speaks against equality.
    return float(mcnemar(table, exact=True).pvalue)


def bootstrap_mean(values: Sequence[float], seed: int, method: Bootstrap = "BCa") -> Interval:
    """A mean with its bootstrap interval; without one for a single value, or where all values agree.

    BCa is for the observations of one model, the plain percentiles for the few seeds of a study, from which
    no bias or skew can be estimated. Raises ValueError for no values.
    """
    data = np.asarray(values, dtype=float)
    if not data.size:
        raise ValueError("no values to average")
    mean = float(data.mean())
    # Drawn again, values that agree can only agree: an interval without width would be false certainty.
    if np.ptp(data) == 0:
        return Interval(mean, None, None, data.size)
    # BCa has no answer where leaving one value out decides the mean.
    for way in dict.fromkeys((method, "percentile")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = stats.bootstrap(
                (data,),
                np.mean,
                vectorized=True,
                n_resamples=2000,
                batch=200,
                confidence_level=CONFIDENCE,
                method=way,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        if math.isfinite(found.low) and math.isfinite(found.high):
            break
    return Interval(mean, float(found.low), float(found.high), data.size)


def median_interval(values: Sequence[float]) -> Interval:
    """A median with its interval from order statistics, which assumes nothing about the tails.

    An end that so few values cannot bound is None. Raises ValueError for no values.
    """
    data = np.asarray(values, dtype=float)
    if not data.size:
        raise ValueError("no values to take the median of")
    bounds = stats.quantile_test(data, q=0.0, p=0.5).confidence_interval(confidence_level=CONFIDENCE)
    low, high = (float(end) if math.isfinite(end) else None for end in bounds)
    return Interval(float(np.median(data)), low, high, data.size)


def newcombe(successes: int, n: int, others: int, m: int) -> Interval:
    """The difference of two rates, of `successes` in `n` and `others` in `m`, with Newcombe's interval.

    The groups are taken as independent: too wide where the same items are in both and go together. Where a
    group is empty nothing is known, and the interval is all there is, -1 to 1.
    """
    if min(n, m) < 1:
        return Interval(0.0, -1.0, 1.0, 0)
    low, high = confint_proportions_2indep(
        successes, n, others, m, method="newcomb", compare="diff", alpha=1 - CONFIDENCE
    )
    return Interval(successes / n - others / m, float(low), float(high), n)


def holm(p_values: Iterable[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given; a p that is not a number is no evidence."""
    given = [1.0 if math.isnan(p) else p for p in p_values]
    return [float(p) for p in multipletests(given, method="holm")[1]] if given else []


def mean_differs(values: Sequence[float]) -> float:
    """The two-sided p of a t-test of whether the mean of `values`, two or more, is other than nothing."""
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def mean_interval(values: Sequence[float]) -> Interval:
    """A mean of a few values with the interval of a t-test; without one where there are fewer than two."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return Interval(mean, None, None, len(values))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half, len(values))


def detectable_excess(share: float, n: int, alpha: float) -> float:
    """The smallest excess over `share` that a two-sided test of two groups of `n` finds with chance `POWER`.

    By the normal approximation, for unpaired groups: a paired test finds a little less. 1 where no excess
    would do.
    """
    if n < 2:
        return 1.0
    effect = _detectable_effect(n, alpha)
    share = min(1.0, max(0.0, share))
    if proportion_effectsize(1.0, share) <= effect:
        return 1.0
    found = optimize.brentq(
        lambda excess: proportion_effectsize(min(1.0, share + excess), share) - effect, 0.0, 1.0 - share
    )
    return float(found)


@lru_cache(maxsize=256)
def _detectable_effect(n: int, alpha: float) -> float:
    """The same as an effect size. A study asks for it once a figure, with few `n` and `alpha` among them."""
    return float(NormalIndPower().solve_power(effect_size=None, nobs1=n, alpha=alpha, power=POWER))


def detectable_mean(values: Sequence[float], alpha: float) -> float:
    """The smallest mean that a two-sided t-test finds with chance `POWER`, given the spread of `values`.

    By scipy's noncentral t; the solver of statsmodels loses its footing at two degrees of freedom.
    """
    freedom = len(values) - 1
    critical = stats.t.ppf(1 - alpha / 2, freedom)

    def lacking(errors: float) -> float:
        return float(POWER - stats.nct.sf(critical, freedom, errors))

    highest = 2.0 * critical
    while lacking(highest) > 0:
        highest *= 2
    return float(optimize.brentq(lacking, 0.0, highest) * stats.sem(values))


def detectable_rank_correlation(n: int, alpha: float) -> float:
    """The smallest |rho| of Spearman over `n` pairs that a one-sided test finds with chance `POWER`.

    By Fisher's transformation with the variance of Fieller et al. 1957, for pairs that are independent: where
    they come in groups it is a little too hopeful. 1 where no correlation would do.
    """
    if n < 4:
        return 1.0
    errors = stats.norm.ppf(1 - alpha) + stats.norm.ppf(POWER)
    return float(np.tanh(errors * math.sqrt(1.06 / (n - 3))))
