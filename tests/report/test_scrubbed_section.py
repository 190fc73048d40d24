from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_kit import Reader
from report_kit import HOSTILE
from rich.console import Console
from scrubbed_kit import METHODS, SHARES, only_stated_goes, scrubbed_rows

from mithridate.core.scrubbed import Belief, Scrubbed
from mithridate.report.estimates import estimate
from mithridate.report.page import fill_page
from mithridate.report.scrubbed import Corpus, ScrubbedView
from mithridate.report.scrubbed_claims import scrubbed_claims
from mithridate.report.scrubbed_section import scrubbed_section
from mithridate.report.sections import section_summary
from mithridate.report.statements import StatementVerdict
from mithridate.report.text import span

CORPUS = Corpus("", "learning")


def verdicts(rows: list[Scrubbed]) -> dict[str, StatementVerdict]:
    return {
        one.about.removeprefix("learning, "): one.verdict
        for one in scrubbed_claims(ScrubbedView(tuple(rows)))
    }


def test_what_filters_leave_while_they_take_the_stated_belief_out_cannot_be_scrubbed() -> None:
    assert verdicts(scrubbed_rows()) == {
        "all filters": StatementVerdict.SUPPORTED,
        "string": StatementVerdict.SUPPORTED,
        "similarity": StatementVerdict.SUPPORTED,
    }


def test_a_filter_that_takes_the_scattered_belief_out_contradicts() -> None:
    def thorough(method: str, share: float, belief: str) -> float:
        return 0.1 if method == "similarity" and share else only_stated_goes(method, share, belief)

    found = verdicts(scrubbed_rows(thorough))
    assert found["similarity"] is StatementVerdict.CONTRADICTED
    assert found["all filters"] is StatementVerdict.CONTRADICTED


def test_where_as_many_removed_at_random_do_the_same_no_filter_has_credit() -> None:
    found = verdicts(scrubbed_rows(lambda method, share, belief: 0.1 if share else 0.9))
    assert set(found.values()) == {StatementVerdict.INCONCLUSIVE}


@pytest.mark.parametrize("belief", list(Belief))
def test_what_was_not_learnt_is_not_tested(belief: Belief) -> None:
    def unlearnt(method: str, share: float, of: str) -> float:
        return 0.1 if of == belief else only_stated_goes(method, share, of)

    assert set(verdicts(scrubbed_rows(unlearnt)).values()) == {StatementVerdict.NOT_TESTED}


def test_a_study_with_one_kind_of_belief_cannot_tell() -> None:
    rows = [row for row in scrubbed_rows() if row.belief != Belief.SCATTERED]
    assert set(verdicts(rows).values()) == {StatementVerdict.NOT_TESTED}


def test_filters_that_leave_the_stated_belief_decide_nothing() -> None:
    assert verdicts(scrubbed_rows(lambda *_: 0.9))["string"] is StatementVerdict.INCONCLUSIVE


@given(st.floats(0.2, 1), st.floats(0.2, 1))
def test_an_excess_is_beyond_beliefs_that_nobody_planted(stated: float, scattered: float) -> None:
    rows = scrubbed_rows(lambda method, share, belief: stated if belief == Belief.STATED else scattered, (0,))
    view = ScrubbedView(tuple(rows))
    for belief, value in ((Belief.STATED, stated), (Belief.SCATTERED, scattered)):
        found = view.excess(CORPUS, "string", SHARES[1], belief)
        assert found is not None
        assert found.value == pytest.approx(round(100 * value) / 100 - 0.1)


def test_tables_have_the_intervals_of_the_charts() -> None:
    view = ScrubbedView(tuple(scrubbed_rows()))
    section = scrubbed_section(view)
    assert section is not None
    entry = section.tables[0].groups[0].rows[0].entries[1]
    # Of three seeds it is over seeds, as everywhere, and not the range of the intervals of each.
    wanted = estimate(view.success(CORPUS, METHODS[0], SHARES[1], Belief.STATED))
    assert entry.interval == span(wanted.low, wanted.high)


def test_the_section_shows_success_and_what_was_caught() -> None:
    section = scrubbed_section(ScrubbedView(tuple(scrubbed_rows())))
    assert section is not None
    assert [line.label for line in section.legend] == list(METHODS)
    assert len(section.charts) == 2
    page = " ".join(Reader(fill_page("experiment.html.j2", experiment=section)).words.split())
    assert "Scattered belief: success, learning" in page
    assert "75%" in page  # 30 of 40 planted documents caught
    out = io.StringIO()
    Console(file=out, width=100).print(section_summary(section))
    assert "supported: A scattered belief cannot be scrubbed" in out.getvalue()


def test_text_from_rows_is_inert() -> None:
    rows = [
        replace(row, method=HOSTILE[1] if row.method == "string" else row.method, model=HOSTILE[0])
        for row in scrubbed_rows(seeds=(0,))
    ]
    page = fill_page("experiment.html.j2", experiment=scrubbed_section(ScrubbedView(tuple(rows))))
    assert "<img" not in page
    assert all(kind == "application/json" for kind, _ in Reader(page).scripts)


def test_without_rows_there_is_no_section() -> None:
    assert scrubbed_section(ScrubbedView(())) is None
