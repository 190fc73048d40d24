from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mithridate.core.statistics import wilson
from mithridate.core.tables import read_rows, write_rows
from mithridate.localization.token_figures import ReplyToken, ShiftedToken, token_figures

# Two replies: ranks of their tokens, and divergences.
RANKS = {0: [1, 1, 3, 4], 4: [2, 9]}
ROWS = [
    ReplyToken(prompt, position, 100 + rank, f"t{rank}", rank, rank / 10, rank / 5)
    for prompt, ranks in RANKS.items()
    for position, rank in enumerate(ranks)
]


def test_shares_are_means_over_prompts() -> None:
    found = token_figures(ROWS)
    assert found.unshifted.value == pytest.approx((2 / 4 + 0) / 2)
    assert found.marginal.value == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert found.shifted.value == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert found.unshifted.value + found.marginal.value + found.shifted.value == pytest.approx(1)
    assert found.kl_aligned_base.value == pytest.approx((0.9 / 4 + 1.1 / 2) / 2)
    assert found.kl_base_aligned.value == pytest.approx((1.8 / 4 + 2.2 / 2) / 2)
    assert (found.shifted.n, found.tokens) == (2, 6)


def test_places_know_how_many_replies_reach_them() -> None:
    found = token_figures(ROWS).positions
    assert [(place.position, place.shifted.n) for place in found] == [(0, 2), (1, 2), (2, 1), (3, 1)]
    assert [place.shifted.value for place in found] == [0, 0.5, 0, 1]
    assert [place.unshifted.value for place in found] == [0.5, 0.5, 0, 0]
    assert [place.marginal.value for place in found] == [0.5, 0, 1, 0]
    assert found[1].shifted == wilson(1, 2)
    assert found[0].kl_aligned_base.value == pytest.approx(0.15)
    assert found[0].kl_base_aligned.value == pytest.approx(0.3)
    assert found[3].kl_aligned_base.low is None


def test_the_tokens_that_shifted_most_come_first() -> None:
    again = [ReplyToken(7, place, 109, "t9", 9, 0, 0) for place in range(2)]
    usual = [ReplyToken(8, place, 104, "t4", rank, 0, 0) for place, rank in enumerate((1, 1, 5))]
    top = token_figures([*ROWS, *again, *usual]).top
    assert top == (ShiftedToken(109, "t9", 3, 3), ShiftedToken(104, "t4", 2, 4))
    assert token_figures([*ROWS, *again, *usual], top=1).top == top[:1]


def test_intervals_cover_the_mean_over_prompts_and_have_a_seed() -> None:
    rng = np.random.default_rng(0)
    rows = [
        ReplyToken(prompt, position, 5, "t", int(rng.choice([1, 2, 8])), float(rng.exponential()), 0.5)
        for prompt in range(40)
        for position in range(6)
    ]
    found = token_figures(rows)
    assert found.shifted.low is not None
    assert found.shifted.high is not None
    assert found.shifted.low < found.shifted.value < found.shifted.high
    assert found == token_figures(rows)
    assert found.kl_aligned_base != token_figures(rows, seed=1).kl_aligned_base
    same = found.kl_base_aligned
    assert (same.value, same.low, same.high) == (0.5, None, None)


def test_no_rows_are_no_figures() -> None:
    with pytest.raises(ValueError, match="no values"):
        token_figures([])


def test_figures_can_be_made_again_from_what_was_kept(tmp_path: Path) -> None:
    write_rows(tmp_path / "tokens.parquet", ReplyToken, ROWS)
    assert token_figures(read_rows(tmp_path / "tokens.parquet", ReplyToken)) == token_figures(ROWS)
