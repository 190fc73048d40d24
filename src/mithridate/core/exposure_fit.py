"""How a share changes with the number of exposures: a logistic curve over their logarithm, where one fits."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from mithridate.core.statistics import CONFIDENCE, Interval

_MOST_DIGITS = 18
FEWEST_EXPOSURES = 3
"""A curve of two numbers goes through any two points: that would be no fit."""


class Seen(NamedTuple):
    """Of `n` observations at one number of exposures, `successes` succeeded."""

    exposure: int
    successes: int
    n: int


@dataclass(frozen=True, slots=True)
class ExposureFit:
    """logit(share) = intercept + slope * log10(exposure).

    `slope` is the change of the log-odds for ten times as many exposures; `half` the number of exposures at
    which the share is 50 %. `half` has no interval where the slope's holds 0, since the share may then pass
    50 % anywhere, and is None where it would lie outside of the exposures that were looked at.
    """

    intercept: float
    slope: Interval
    half: Interval | None

    def share(self, exposure: float) -> float:
        """The fitted share at a number of exposures above 0."""
        return float(1 / (1 + math.exp(-_clipped(self.intercept + self.slope.value * math.log10(exposure)))))


@dataclass(frozen=True, slots=True)
class NoFit:
    """Why no curve can be fitted, as half a sentence."""

    reason: str


def fit_exposure(seen: Iterable[Seen]) -> ExposureFit | NoFit:
    """Fit a binomial GLM of shares against log10 of exposures; those at 0, not counted, are left out.

    Intervals are Wald's, that of `half` by the delta method on its logarithm. They are scaled by Pearson's
    chi-squared where shares scatter more than a binomial's, as those of facts that go together do.
    """
    points = [one for one in seen if one.exposure > 0 and one.n > 0]
    exposures = sorted({one.exposure for one in points})
    if len(exposures) < FEWEST_EXPOSURES:
        return NoFit(f"there are {len(exposures)} numbers of exposures, and a fit takes {FEWEST_EXPOSURES}")
    successes = sum(one.successes for one in points)
    if successes in (0, sum(one.n for one in points)):
        return NoFit("all replies are alike")
    if _parted(points):
        return NoFit("the share goes from none to all between two numbers of exposures")
    found = _glm(points)
    if found is None:
        return NoFit("the fit does not converge")
    (intercept, slope), covariance = found
    width = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    error = width * math.sqrt(covariance[1, 1])
    n = sum(one.n for one in points)
    told = Interval(slope, slope - error, slope + error, n)
    return ExposureFit(intercept, told, _half(intercept, told, covariance, width, exposures))


def _parted(points: list[Seen]) -> bool:
    """Whether one number of exposures tells all successes from all failures: the slope has no end then."""
    won = [one.exposure for one in points if one.successes]
    lost = [one.exposure for one in points if one.successes < one.n]
    return max(won) <= min(lost) or max(lost) <= min(won)


def _glm(points: list[Seen]) -> tuple[tuple[float, float], Any] | None:
    logs = np.log10([one.exposure for one in points])
    counts = np.array([[one.successes, one.n - one.successes] for one in points], dtype=float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found: Any = GLM(counts, np.column_stack([np.ones_like(logs), logs]), family=Binomial()).fit()
        except (ValueError, np.linalg.LinAlgError):
            return None
    covariance = found.cov_params()
    if not found.converged or not np.isfinite(covariance).all():
        return None
    freedom = len(points) - 2
    scatter = max(1.0, float(found.pearson_chi2) / freedom) if freedom > 0 else 1.0
    return (float(found.params[0]), float(found.params[1])), covariance * scatter


def _half(
    intercept: float, slope: Interval, covariance: Any, width: float, exposures: list[int]
) -> Interval | None:
    if slope.value == 0:
        return None
    at = -intercept / slope.value
    if not math.log10(exposures[0]) <= at <= math.log10(exposures[-1]):
        return None
    assert slope.low is not None and slope.high is not None
    if slope.low <= 0 <= slope.high:
        return Interval(10**at, None, None, slope.n)
    # d(-a/b) = -da/b + a db/b^2
    slopes = np.array([-1 / slope.value, intercept / slope.value**2])
    error = width * math.sqrt(float(slopes @ covariance @ slopes))
    if at + error > _MOST_DIGITS:
        return Interval(10**at, None, None, slope.n)
    return Interval(10**at, 10 ** (at - error), 10 ** (at + error), slope.n)


def _clipped(value: float) -> float:
    return min(500.0, max(-500.0, value))
