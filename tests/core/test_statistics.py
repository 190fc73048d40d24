from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_effectsize

from mithridate.core.statistics import (
    POWER,
    bootstrap_mean,
    detectable_excess,
    detectable_mean,
    holm,
    mcnemar_exact,
    mean_differs,
    median_interval,
    newcombe,
    wilson,
)


def test_wilson_against_published_figures() -> None:
    # Newcombe 1998, table I: 81 of 263, and 0 of 20.
    found = wilson(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    found = wilson(0, 20)
    assert (found.value, found.low, found.high, found.n) == pytest.approx((0, 0, 0.1611, 20), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_rate_lies_in_its_interval(case: tuple[int, int]) -> None:
    found = wilson(*case)
    assert found.low is not None
    assert found.high is not None
    assert -1e-12 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1 + 1e-12


def test_no_rate_of_nothing() -> None:
    for successes, n in ((0, 0), (2, 1), (-1, 3)):
        with pytest.raises(ValueError, match="is no rate"):
            wilson(successes, n)


def test_mcnemar_is_the_binomial_of_what_differs() -> None:
    a = [True] * 8 + [False] * 2 + [True] * 5
    b = [False] * 8 + [True] * 2 + [True] * 5
    expected = 2 * sum(math.comb(10, k) for k in range(3)) / 2**10
    assert mcnemar_exact(a, b) == pytest.approx(expected)
    assert mcnemar_exact(b, a) == pytest.approx(expected)
    assert mcnemar_exact(a, a) == 1
    assert mcnemar_exact([], []) == 1
    with pytest.raises(ValueError, match="shorter"):
        mcnemar_exact([True, True], [True])


def test_bootstrap() -> None:
    values = [0.1, 0.4, 0.35, 0.9, 0.2, 0.5]
    found = bootstrap_mean(values, 1)
    assert found == bootstrap_mean(values, 1)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert bootstrap_mean([2.0], 0).low is None
    same = bootstrap_mean([2.0] * 4, 0)
    assert (same.value, same.low, same.high, same.n) == (2.0, None, None, 4)
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean([], 0)
    outlier = bootstrap_mean([0.0] * 9 + [1.0], 0)
    assert outlier.high is not None
    assert 0.1 < outlier.high < 1


def test_a_median_has_no_bound_that_few_values_cannot_give() -> None:
    found = median_interval([3.0, 1.0, 2.0])
    assert (found.value, found.low, found.high, found.n) == (2.0, None, None, 3)
    found = median_interval([float(i) for i in range(101)])
    assert found.value == 50
    assert (found.low, found.high) == pytest.approx((40, 60), abs=1)
    heavy = median_interval([1.0] * 30 + [1e9] * 20)
    assert heavy.high is not None
    assert heavy.value == 1


def test_few_seeds_get_plain_percentiles() -> None:
    values = [0.4, 0.5, 0.9]
    found = bootstrap_mean(values, 0, "percentile")
    # Of 27 possible resamples one is three times the lowest value: more than a fortieth, so it is the end.
    assert (found.low, found.high) == pytest.approx((0.4, 0.9))
    assert bootstrap_mean([0.0] * 9 + [1.0], 0, "percentile") != bootstrap_mean([0.0] * 9 + [1.0], 0)


def test_newcombe_against_published_figures() -> None:
    # Newcombe 1998, table II, method 10: 56 of 70 less 48 of 80, and 9 of 10 less 3 of 10.
    found = newcombe(56, 70, 48, 80)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    found = newcombe(9, 10, 3, 10)
    assert (found.low, found.high) == pytest.approx((0.1705, 0.8090), abs=5e-5)
    assert (newcombe(0, 0, 1, 2).low, newcombe(0, 0, 1, 2).high) == (-1, 1)


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([math.nan, 0.01]) == pytest.approx([1, 0.02])
    assert holm([]) == []


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.integers(2, 3000), st.sampled_from([0.05, 0.0125]))
def test_an_excess_that_can_be_found_has_the_power_it_was_solved_for(
    share: float, n: int, alpha: float
) -> None:
    excess = detectable_excess(share, n, alpha)
    assert 0 < excess <= 1
    if excess < 1:
        effect = proportion_effectsize(share + excess, share)
        assert NormalIndPower().power(effect, n, alpha) == pytest.approx(POWER, abs=1e-3)


def test_power_shrinks_with_probes_and_chance_costs_power() -> None:
    assert detectable_excess(0.0, 1000, 0.05) < detectable_excess(0.0, 200, 0.05)
    assert detectable_excess(0.0, 200, 0.05) < detectable_excess(0.0, 20, 0.05)
    assert detectable_excess(0.5, 200, 0.05) > detectable_excess(0.0, 200, 0.05)
    assert detectable_excess(0.99, 5, 0.05) == detectable_excess(0.5, 1, 0.05) == 1.0


@pytest.mark.parametrize(("seeds", "alpha"), [(3, 0.05), (3, 0.0125), (5, 0.05)])
def test_a_mean_that_can_be_found_is_found_as_often_as_said(seeds: int, alpha: float) -> None:
    spread = [float(i) for i in range(seeds)]
    least = detectable_mean(spread, alpha)
    rng = np.random.default_rng(0)
    drawn = rng.normal(least, np.std(spread, ddof=1), (4000, seeds))
    found = (stats.ttest_1samp(drawn, 0.0, axis=1).pvalue < alpha).mean()
    assert found == pytest.approx(POWER, abs=0.02)


def test_a_mean_is_tested_against_nothing() -> None:
    assert mean_differs([0.9, 0.85, 0.95]) < 0.01
    assert mean_differs([0.9, -0.9, 0.1]) > 0.5
