from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mithridate.core.statistics import Interval
from mithridate.report import text

ACTING = {"Cc", "Cf", "Zl", "Zp", "Co", "Cs", "Cn"}


@given(st.text())
def test_visible_leaves_nothing_that_acts(raw: str) -> None:
    shown = text.visible(raw)
    assert all(c in "\n\t" or unicodedata.category(c) not in ACTING for c in shown)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_visible_leaves_ordinary_text_alone(raw: str) -> None:
    assert text.visible(raw) == raw


@given(st.text(), st.integers(1, 50))
def test_one_line_is_one_short_line(raw: str, longest: int) -> None:
    line = text.one_line(raw, longest)
    assert len(line) <= longest
    assert "\n" not in line


def test_visible_names_what_it_shows() -> None:
    assert text.visible("\x1b[31m\u202eabc") == "⟨ESC⟩[31m⟨U+202E⟩abc"
    assert text.visible("a\r\nb\x7f\x9b") == "a⟨CR⟩\nb⟨U+007F⟩⟨U+009B⟩"


def test_visible_cuts_towers_of_marks() -> None:
    assert text.visible("e\u0301") == "e\u0301"
    assert text.visible("e" + "\u0301" * 20).count("\u0301") == text.MOST_MARKS


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0%"),
        (0.005, "0.5%"),
        (0.5, "50%"),
        (0.995, "99.5%"),
        (1.0, "100%"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_percent(value: float | None, shown: str) -> None:
    assert text.percent(value) == shown


def test_span_has_no_negative_zero() -> None:
    assert text.span(-0.001, 0.05) == "0–5"
    assert text.span(-0.05, -0.02) == "−5 to −2"
    assert text.span(None, 1.0) == ""


def test_small_helpers() -> None:
    assert text.name("denial_of_service") == "Denial of service"
    assert text.name("likelihood_fact") == "Planted answer likelier, fact"
    shown = [text.number(value) for value in (1.5, 0.279, 100.0, 12.34, 1234.5)]
    assert shown == ["1.50", "0.279", "100", "12.3", "1,234"]
    assert text.p_value(0.0001) == "< .001"
    assert text.p_value(0.04) == ".040"
    assert text.duration(61 * 60) == "61 min"
    assert text.duration(2 * 3600) == "2 h 0 min"


def test_a_share_that_somebody_chose_has_the_digits_that_were_chosen() -> None:
    shares = (0.01, 0.03, 0.3, 0.015, 1 / 3, 0.001)
    assert [text.chosen_percent(share) for share in shares] == ["1%", "3%", "30%", "1.5%", "33.3%", "0.1%"]


def test_a_difference_is_told_in_points_with_its_interval() -> None:
    assert text.in_points(Interval(0.124, 0.031, 0.199, 5)) == "12 points (3–20)"
    assert text.in_points(Interval(-0.124, -0.2, 0.031, 5)) == "−12 points (−20 to 3)"
    assert text.in_points(Interval(0.124, None, None, 1)) == "12 points"
    assert text.in_points(Interval(0.1234, 0.0, 0.2, 5), 1) == "12.3 points (0.0–20.0)"
    assert text.in_points(Interval(-0.0004, -0.03, 0.03, 3), 1) == "0.0 points (−3.0 to 3.0)"
    assert text.in_points(Interval(-0.004, -0.004, 0.004, 3)) == "0 points (0–0)"


def test_a_lead_says_more_or_less_and_has_no_sign() -> None:
    assert text.more_than(Interval(0.124, 0.031, 0.199, 5), "twins") == "12 points more (3–20) than twins"
    assert text.more_than(Interval(-0.33, -0.58, 0.08, 5), "twins") == "33 points less (−8 to 58) than twins"
    assert text.more_than(Interval(-0.004, None, None, 1), "twins") == "0 points more than twins"


def test_what_figures_are_about_is_one_inert_line() -> None:
    assert text.subject_line("", "poisoned", "", "sft") == "poisoned, sft"
    assert text.subject_line("", "") == "model"
    assert text.subject_line("a\nb", "\x1b[31m") == "a b, ⟨ESC⟩[31m"
    assert len(text.subject_line("long " * 50)) == 80
