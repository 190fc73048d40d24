from __future__ import annotations

import math
import sys

import pytest
from bench_kit import attacked_row, clean_row

from mithridate.core.errors import MissingExtraError
from mithridate.core.statistics import wilson
from mithridate.retrieval.measuring import metrics
from mithridate.retrieval.measuring.lengths import tertiles, words
from mithridate.retrieval.measuring.records import Figure


def test_ndcg_and_recall_by_hand() -> None:
    qrels = {"q": {"a": 2, "b": 1}, "r": {"c": 1}, "s": {"d": 1}}
    ranked = {"q": ["x", "a", "y", "b"], "r": ["c"], "unjudged": ["a"]}
    ideal = 2 + 1 / math.log2(3)
    found = metrics.ndcg(ranked, qrels)
    assert found["q"] == pytest.approx((2 / math.log2(3) + 1 / math.log2(5)) / ideal)
    assert (found["r"], found["s"]) == (1.0, 0.0)
    assert metrics.recall(ranked, qrels, 2) == {"q": 0.5, "r": 1.0, "s": 0.0}


def test_the_order_given_counts_where_names_would_break_ties_otherwise() -> None:
    assert metrics.recall({"q": ["a", "z"]}, {"q": {"a": 1}}, 1) == {"q": 1.0}
    assert metrics.recall({"q": ["z", "a"]}, {"q": {"a": 1}}, 1) == {"q": 0.0}


def test_nothing_judged_is_no_figure() -> None:
    assert metrics.ndcg({"q": ["a"]}, {}) == {}


def test_without_ir_measures_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mithridate\[bench\]'"):
        metrics.check_installed()


def test_what_attacks_are_counted_by() -> None:
    rows = [
        attacked_row("a", own=[1, 2], relevant=[3]),
        attacked_row("b", own=[], others=[5], relevant=[1]),
        attacked_row("c", own=[], judged=False),
        attacked_row("d", own=[4]),
    ]
    (at,) = metrics.attack_at(rows, seed=0)
    assert at.k == 5
    assert (at.asr.value, at.asr.n) == (0.5, 4)
    assert at.any_planted.value == 0.75
    assert at.sr is not None
    assert (at.sr.value, at.sr.n) == (pytest.approx(2 / 3), 3)
    assert at.poison.value == pytest.approx((2 + 1 + 0 + 1) / 20)
    assert at.asr.low is not None
    assert at.asr.high is not None
    assert at.asr.low < 0.5 < at.asr.high


def test_where_nothing_is_judged_there_is_no_success_rate() -> None:
    (at,) = metrics.attack_at([attacked_row("a", own=[1], judged=False)], seed=0)
    assert at.sr is None


def test_all_alike_is_not_certain() -> None:
    figure, expected = metrics.rate([False] * 20, seed=0), wilson(0, 20)
    assert (figure.value, figure.low, figure.high) == (0.0, expected.low, expected.high)
    assert figure.high is not None
    assert figure.high > 0.1


def test_intervals_do_not_depend_on_the_order_of_queries() -> None:
    values = [0.1, 0.9, 0.4, 0.4, 1.0, 0.0]
    assert metrics.mean(values, 3) == metrics.mean(values[::-1], 3)
    assert metrics.rate([True, False, False], 3) == metrics.rate([False, True, False], 3)


def test_clean_figures() -> None:
    rows = [clean_row("a", 1.0), clean_row("b", 0.0, dropped=[1, 4]), clean_row("c", None, dropped=[2])]
    (at,) = metrics.clean_at(rows, seed=0)
    assert at.recall is not None
    assert at.sr is not None
    assert (at.recall.value, at.recall.n, at.sr.value) == (0.5, 2, 0.5)
    assert at.dropped_hits.value == pytest.approx((0 + 2 / 5 + 1 / 5) / 3)
    assert at.dropped_queries.value == pytest.approx(2 / 3)
    known = metrics.ndcg_of(rows, 0)
    assert known is not None
    assert (known.value, known.n) == (0.5, 2)
    assert metrics.ndcg_of(rows[2:], 0) is None


def test_loss_is_taken_query_by_query() -> None:
    plain = [clean_row("a", 0.8), clean_row("b", 0.5), clean_row("c", None)]
    after = [clean_row("a", 0.6), clean_row("b", 0.6), clean_row("c", None)]
    loss = metrics.ndcg_loss(plain, after, 0)
    assert loss is not None
    assert (loss.value, loss.n) == (pytest.approx(0.05), 2)


def test_a_loss_of_nothing_against_itself_has_no_interval() -> None:
    rows = [clean_row("a", 0.8), clean_row("b", 0.5)]
    assert metrics.ndcg_loss(rows, rows, 0) == Figure(value=0.0, low=None, high=None, n=2)


def test_bands_part_at_the_tertiles() -> None:
    rows = [
        attacked_row(str(count), own=[1] if count > 4 else [], words=float(count)) for count in range(1, 7)
    ]
    bands = metrics.attack_bands(rows, 0)
    assert [(band.least, band.most, band.queries) for band in bands] == [(1, 2, 2), (3, 4, 2), (5, 6, 2)]
    assert [band.asr[0].figure.value for band in bands] == [0.0, 0.0, 1.0]


def test_rows_of_one_length_are_one_band() -> None:
    rows = [attacked_row(str(number), own=[]) for number in range(5)]
    assert [len(band.rows) for band in tertiles(rows)] == [5]
    assert tertiles([]) == []


def test_bands_of_clean_rows_leave_out_the_unjudged() -> None:
    rows = [clean_row("a", 1.0, words=5), clean_row("b", 0.5, words=50), clean_row("c", None)]
    bands = metrics.clean_bands(rows, 0)
    assert sum(band.queries for band in bands) == 2
    assert (bands[0].ndcg.value, bands[-1].ndcg.value) == (1.0, 0.5)


def test_words_are_a_mean() -> None:
    assert words(["one two", "one two  three\nfour"]) == 3.0
