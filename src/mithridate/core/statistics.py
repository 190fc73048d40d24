"""Intervals, tests and power, all from statsmodels and scipy; here they only get names and edge cases."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_confint

CONFIDENCE = 0.95


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


def bootstrap_mean(values: Sequence[float], seed: int) -> Interval:
    """A mean with its BCa bootstrap interval; without one for a single value.

    Raises ValueError for no values.
    """
    data = np.asarray(values, dtype=float)
    if not data.size:
        raise ValueError("no values to average")
    mean = float(data.mean())
    if data.size == 1:
        return Interval(mean, None, None, 1)
    if np.ptp(data) == 0:
        return Interval(mean, mean, mean, data.size)
    for method in ("BCa", "percentile"):  # BCa has no answer where leaving one value out decides the mean.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = stats.bootstrap(
                (data,),
                np.mean,
                vectorized=True,
                n_resamples=2000,
                batch=200,
                confidence_level=CONFIDENCE,
                method=method,
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


def paired_power(n: int, difference: float, *, discordant: float = 0.5, alpha: float = 0.05) -> float:
    """The chance that a paired comparison of `n` items finds a true `difference` of rates.

    `discordant` is the share of items on which the two sides differ, which must exceed the difference; one
    half is that of two coins. A difference of 0/1 outcomes has the variance discordant - difference squared;
    the power is the normal one of its mean.
    """
    effect = difference / math.sqrt(max(discordant, abs(difference)) - difference**2)
    return float(NormalIndPower(ddof=0).power(effect, n, alpha, ratio=0))


def minimum_detectable_difference(
    n: int, *, power: float = 0.8, discordant: float = 0.5, alpha: float = 0.05
) -> float:
    """The least difference of rates that `paired_power` finds with the chance `power`; at most 1."""
    effect = float(
        NormalIndPower(ddof=0).solve_power(effect_size=None, nobs1=n, alpha=alpha, power=power, ratio=0)
    )
    # effect = difference / sqrt(discordant - difference ** 2), solved for the difference.
    found = effect * math.sqrt(discordant / (1 + effect**2))
    # More items cannot favour one side than differ at all; there the share that differs is the difference.
    return min(1.0, found if found <= discordant else effect**2 / (1 + effect**2))
