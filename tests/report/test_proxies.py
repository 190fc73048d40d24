"""Tables of proxy-tuning: who steers whom, and gaps only where there is one."""

from __future__ import annotations

from dataclasses import replace

from mithridate.core.prices import ProxyMetric, ProxyRow
from mithridate.report.proxies import COLUMNS, proxy_tables

ROW = ProxyRow(
    method="poisoned base, clean expert",
    metric=ProxyMetric.QUESTIONS_RIGHT,
    base=0.1,
    proxy=0.5,
    tuned=0.9,
    expert=0.3,
    n=100,
    p_moved=0.001,
    closed=0.5,
    clipped=0.5,
    closed_by_expert=0.25,
    alpha=1.0,
    dose="learning",
    model="learning",
)
UNMOVED = replace(
    ROW,
    metric=ProxyMetric.ASR,
    attack="jailbreak",
    condition="triggered",
    closed=None,
    clipped=None,
    closed_by_expert=None,
)


def texts(*rows: ProxyRow) -> list[list[str]]:
    (table,) = proxy_tables(rows)
    assert table.columns == COLUMNS
    return [[row.arm.label, *(entry.text for entry in row.entries)] for g in table.groups for row in g.rows]


def test_a_gap_that_is_none_is_not_told_and_not_averaged() -> None:
    asked, attacked, mean = texts(ROW, UNMOVED)
    assert asked == ["Questions right", "10%", "50%", "90%", "30%", "50%", "50%", "25%"]
    assert attacked[0] == "Jailbreak, triggered"
    assert attacked[-3:] == ["–", "–", "–"]
    assert mean[1:] == ["–", "–", "–", "–", "50%", "50%", "25%"]


def test_a_share_of_a_little_is_no_part_of_the_mean() -> None:
    *_, mean = texts(ROW, replace(UNMOVED, closed=8.3, clipped=1.0, closed_by_expert=8.4))
    assert mean[-3:] == ["50%", "50%", "25%"]


def test_seeds_are_averaged_and_a_gap_needs_all_of_them() -> None:
    other = replace(ROW, seed=2, base=0.3, closed=0.7, clipped=0.7, closed_by_expert=None)
    asked, _ = texts(ROW, other)
    assert asked == ["Questions right", "20%", "50%", "90%", "30%", "60%", "60%", "–"]


def test_each_strength_and_model_has_a_table_and_each_way_round_a_group() -> None:
    tables = proxy_tables([ROW, replace(ROW, alpha=0.5), replace(ROW, method="clean base, poisoned expert")])
    assert [len(table.groups) for table in tables] == [2, 1]
    assert "alpha 0.5" in tables[1].caption
    assert proxy_tables([]) == []
