"""What the figures of a benchmark of defences say in a sentence, and as tables of text."""

from __future__ import annotations

import io

import pytest
from guard_kit import DEFENSES, figure, hostile, result
from rich.console import Console

from mithridate.report import guard_tables
from mithridate.report.guard_terminal import guard_summary
from mithridate.report.guard_view import GuardView, points, score
from mithridate.retrieval.measuring.records import Figure


def printed(view: GuardView, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(guard_summary(view), width=min(100, width))
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue()


def test_headlines_name_the_worst_of_no_defence_and_the_best_worst_case() -> None:
    undefended, least = GuardView(result(copies=(1,))).headlines
    assert undefended == (
        "Without a defence, a document planted for a question is among the first 5 hits of 35% "
        "(query_as_poison, 1 copy) to 60% (repeated, 1 copy) of the questions."
    )
    assert least == (
        "Of 3 defences, ragpart+ragmask+consensus lets least through in its worst case: 25% [15–35] "
        "(repeated, 1 copy). It costs 1.5 points of nDCG@10 on the clean corpus (1.1 to 2.5)."
    )


def test_headlines_of_little() -> None:
    one = GuardView(result(attacks=("repeated",), copies=(2,), defenses=("plain",), judged=False))
    (only,) = one.headlines
    assert only == (
        "Without a defence, a document planted for a question is among the first 5 hits of 66% of 40 "
        "questions (repeated, 2 copies)."
    )
    assert "points" not in GuardView(result(judged=False)).headlines[1]
    alone = GuardView(result(copies=(1,), defenses=("plain", "ragpart"), judged=False)).headlines[1]
    assert alone == "Behind ragpart it is, in the worst case, 55% [45–65] (repeated, 1 copy)."


def test_without_five_hits_the_depth_that_was_timed_is_quoted() -> None:
    view = GuardView(result(ks=(2, 20)))
    assert view.quoted_k == 20
    assert "first 20 hits" in view.headlines[0]


def test_a_table_under_attack_has_a_group_an_attack_and_copies() -> None:
    table = guard_tables.under_attack(GuardView(result()), "ASR")
    assert table.columns == ("ASR@3", "ASR@5", "ASR@10")
    assert [group.title for group in table.groups] == [
        "query_as_poison, 1 copy",
        "query_as_poison, 5 copies",
        "repeated, 1 copy",
        "repeated, 5 copies",
    ]
    assert [row.arm.label for row in table.groups[0].rows] == list(DEFENSES)
    entry = table.groups[0].rows[1].entries[1]
    assert (entry.text, entry.interval, entry.value, entry.low, entry.high) == ("10%", "0–20", 10, 0, 20)


def test_the_plain_search_is_grey_and_the_others_have_marks_of_their_own() -> None:
    looks = GuardView(result()).defenses
    assert looks[0].glyph == "○" and len({look.glyph for look in looks}) == len(looks)
    assert len({look.colour for look in looks}) == len(looks)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0152, "1.5"), (-0.0004, "0.0"), (-0.0123, "−1.2"), (None, "–"), (1, "100.0")]
)
def test_points_of_a_loss(value: float | None, shown: str) -> None:
    assert points(value) == shown


def test_scores_and_missing_figures() -> None:
    assert [score(v) for v in (0.3164, 0.0, 1.0, None)] == [".316", ".000", "1.000", "–"]
    assert (
        guard_tables.share(None).text == guard_tables.ndcg(None).text == guard_tables.loss(None).text == "–"
    )
    single = Figure(value=0.5, low=None, high=None, n=1)
    assert guard_tables.share(single).interval == guard_tables.ndcg(single).interval == ""
    assert guard_tables.loss(figure(0.5)).interval == "40.0 to 60.0"


def test_all_figures_fit_into_a_hundred_columns() -> None:
    out = printed(GuardView(result()), 100)
    assert max(map(len, out.splitlines())) <= 100
    for expected in (
        "35% 25–45",
        ".316 .266–.366",
        "0.500 ms",
        "2.0 ×",
        "Under repeated, 5 copies a question",
    ):
        assert expected in out
    # In no table is a figure cut or folded where there is room.
    assert out.count("ragpart+ragmask+consensus") == 4 + 2 + 1


def test_more_depths_than_there_is_room_for_are_left_to_the_page() -> None:
    out = printed(GuardView(result(ks=(1, 3, 5, 10, 20))), 100)
    assert "ASR@1 " in out and "ASR@5" in out and "ASR@20" in out and "ASR@3" not in out


def test_what_is_printed_cannot_steer_a_terminal() -> None:
    out = printed(GuardView(hostile()), 100)
    assert "\x1b" not in out and "\x07" not in out and "\u202e" not in out
    assert "⟨ESC⟩" in out
    assert "[bold red]markup[/]" in out
    assert max(map(len, out.splitlines())) <= 100
