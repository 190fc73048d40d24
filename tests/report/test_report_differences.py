from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mithridate.core.statistics import Interval, newcombe, wilson
from mithridate.report.differences import difference, joined


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_the_interval_of_a_difference_of_two_shares_is_newcombes(n: int, m: int, data: st.DataObject) -> None:
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    known = newcombe(a, n, b, m)
    found = joined([(1.0, wilson(a, n)), (-1.0, wilson(b, m))])
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-9)


def test_seeds_are_the_unit_from_three_on() -> None:
    first = {seed: wilson(90 + seed, 100) for seed in range(3)}
    second = {seed: wilson(10, 100) for seed in range(4)}
    found = difference(first, second)
    assert found is not None and found.n == 3 and found.value == pytest.approx(0.81)
    # Student's t at two degrees of freedom, and a standard deviation of one point.
    assert found.low == pytest.approx(0.81 - 4.3027 * 0.01 / 3**0.5, abs=1e-4)
    assert difference(first, {}) is None


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=6))
def test_no_interval_goes_beyond_what_shares_can_differ_by(counts: list[tuple[int, int]]) -> None:
    first, second = ({seed: wilson(pair[i], 20) for seed, pair in enumerate(counts)} for i in (0, 1))
    found = difference(first, second)
    assert found is not None and found.low is not None and found.high is not None
    assert -1 <= found.low <= found.value <= found.high <= 1


def test_where_seeds_agree_or_are_few_each_counts_by_itself() -> None:
    known = newcombe(90, 100, 10, 100)
    for seeds in (1, 2, 3):
        first, second = ({seed: wilson(k, 100) for seed in range(seeds)} for k in (90, 10))
        found = difference(first, second)
        assert found is not None and (found.low, found.high) == pytest.approx((known.low, known.high))


def test_what_has_no_interval_gives_none() -> None:
    found = difference({0: Interval(0.5, None, None, 3)}, {0: wilson(1, 2)})
    assert found is not None and found.low is None and found.high is None
