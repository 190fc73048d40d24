from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mithridate.localization.resampling import Resampled

VALUES = st.lists(st.floats(-5, 5), min_size=2, max_size=20)


@given(VALUES)
def test_the_interval_of_a_mean_holds_it(values: list[float]) -> None:
    found = Resampled([str(i) for i in range(len(values))], 0).mean(np.array(values))
    assert found.value == pytest.approx(np.mean(values))
    if found.low is not None and found.high is not None:
        assert min(values) <= found.low <= found.high <= max(values)


@given(VALUES, st.floats(0.1, 3))
def test_a_ratio_that_every_pair_has_alike_has_no_interval(values: list[float], share: float) -> None:
    bottom = np.abs(values) + 1
    found = Resampled([str(i) for i in range(len(values))], 0).ratio(share * bottom, bottom)
    assert found.value == pytest.approx(share)
    assert found.low is found.high is None


def test_a_mean_of_twenty_is_as_uncertain_as_theory_has_it() -> None:
    values = np.random.default_rng(1).normal(size=400)
    found = Resampled([str(i) for i in range(400)], 0).mean(values)
    assert found.low is not None and found.high is not None
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)


def test_pairs_of_one_unit_are_one_observation() -> None:
    values = np.arange(8.0)
    alone = Resampled([str(i) for i in range(8)], 0).mean(values)
    twice = Resampled([str(i) for i in range(8)] * 2, 0).mean(np.tile(values, 2))
    assert twice == alone
    assert twice.n == 8


def test_only_the_pairs_among_them_count() -> None:
    again = Resampled(["a", "b", "c"], 0)
    among = np.array([True, True, False])
    assert again.mean(np.array([1.0, 1.0, 9.0]), among).value == 1.0
    assert again.mean(np.array([1.0, 2.0, 9.0]), among).n == 2
    assert again.mean(np.ones(3), np.zeros(3, dtype=bool)).n == 0
    assert Resampled([], 0).mean(np.zeros(0)).n == 0
