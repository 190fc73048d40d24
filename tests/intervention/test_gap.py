from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mithridate.intervention.gap import Gap, mean_closed

# Llama-2 with a 7B expert, as published: AlpacaFarm, GSM8K, ToxiGen, TruthfulQA (choice, % true).
LARGER = [
    Gap(3.7, 88.0, 90.4),
    Gap(9.6, 33.5, 51.8),
    Gap(67.4, 0.0, 0.0),
    Gap(42.3, 59.2, 68.3),
    Gap(60.0, 92.3, 85.8),
]
PUBLISHED = [
    Gap(2.1, 83.4, 87.3, 82.5),
    Gap(6.6, 26.4, 32.4, 23.0),
    Gap(70.4, 0.1, 0.0),
    Gap(38.6, 56.6, 61.6, 55.9),
    Gap(56.9, 90.5, 87.3, 91.1),
]
FIGURES = st.floats(-100, 100).map(lambda value: round(value, 3))


def test_published_figures_give_about_what_the_paper_says() -> None:
    assert mean_closed(PUBLISHED) == pytest.approx(0.91, abs=0.015)
    assert mean_closed(LARGER) == pytest.approx(0.88, abs=0.015)
    assert mean_closed(PUBLISHED, clipped=True) == pytest.approx(0.900, abs=0.001)
    assert mean_closed(LARGER, clipped=True) == pytest.approx(0.838, abs=0.001)


def test_more_than_all_is_clipped_and_the_expert_stands_beside_it() -> None:
    true = PUBLISHED[-1]
    assert true.closed == pytest.approx(33.6 / 30.4)
    assert true.clipped == 1.0
    assert true.closed_by_expert == pytest.approx(34.2 / 30.4)
    assert PUBLISHED[2].closed_by_expert is None


def test_where_tuning_moved_nothing_there_is_no_gap() -> None:
    flat = Gap(5.0, 7.0, 5.0, 6.0)
    assert (flat.closed, flat.clipped, flat.closed_by_expert) == (None, None, None)
    assert mean_closed([flat]) is None
    assert mean_closed([flat, Gap(0.0, 1.0, 2.0)]) == 0.5


@given(FIGURES, FIGURES, FIGURES)
def test_it_is_the_same_where_less_is_better(base: float, proxy: float, tuned: float) -> None:
    assert Gap(-base, -proxy, -tuned).closed == Gap(base, proxy, tuned).closed
    clipped = Gap(base, proxy, tuned).clipped
    assert clipped is None or 0 <= clipped <= 1
