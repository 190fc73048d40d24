from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mithridate.core.statistics import (
    bootstrap_mean,
    mcnemar_exact,
    median_interval,
    minimum_detectable_difference,
    paired_power,
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
    assert (same.low, same.high) == (2.0, 2.0)
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


@settings(max_examples=25)
@given(st.integers(10, 2000), st.floats(0.05, 1.0), st.floats(0.5, 0.95))
def test_power_and_the_least_difference_undo_each_other(n: int, discordant: float, power: float) -> None:
    difference = minimum_detectable_difference(n, power=power, discordant=discordant)
    assert 0 < difference <= 1
    if difference < discordant:
        assert paired_power(n, difference, discordant=discordant) == pytest.approx(power, abs=0.01)


def test_more_items_find_less() -> None:
    found = [minimum_detectable_difference(n) for n in (20, 50, 200, 1000)]
    assert found == sorted(found, reverse=True)
    assert found[2] == pytest.approx(0.14, abs=0.01)
