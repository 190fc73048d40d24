from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_kit import Reader
from report_kit import HOSTILE
from rich.console import Console
from scrubbed_kit import METHODS, SHARES, clean_rows, only_stated_goes, scrubbed_rows

from mithridate.core.scrubbed import Belief, Filter, Scrubbed
from mithridate.core.types import Condition
from mithridate.report.estimates import estimate
from mithridate.report.page import fill_page
from mithridate.report.scrubbed import Corpus, ScrubbedView
from mithridate.report.scrubbed_claims import scrubbed_claims, taken_out
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


def test_without_random_removal_no_filter_could_contradict_so_none_is_tested() -> None:
    rows = [row for row in scrubbed_rows() if row.method != "random"]
    found = scrubbed_claims(ScrubbedView(tuple(rows)))
    assert {one.verdict for one in found} == {StatementVerdict.NOT_TESTED}
    assert all("`random` in `scrubbing.methods`" in one.reason for one in found)


def test_controls_alone_are_no_filters() -> None:
    rows = [row for row in scrubbed_rows() if row.method in ("nothing", "random", "oracle")]
    (found,) = scrubbed_claims(ScrubbedView(tuple(rows)))
    assert found.verdict is StatementVerdict.NOT_TESTED
    assert found.reason == "The study tried controls alone, and no filter."


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_fewer_than_three_seeds_decide_nothing(seeds: tuple[int, ...]) -> None:
    found = scrubbed_claims(ScrubbedView(tuple(scrubbed_rows(seeds=seeds))))
    assert {one.verdict for one in found} == {StatementVerdict.INCONCLUSIVE}
    assert all(one.reason.endswith("alone it would be supported.") for one in found)


def test_random_removal_has_to_leave_more_than_the_filter() -> None:
    """Each interval by itself says gone and kept, and yet they are not apart from training to training."""
    for drawn, verdict in (
        ((0.85, 0.45, 0.85), StatementVerdict.INCONCLUSIVE),
        ((0.85, 0.8, 0.85), StatementVerdict.CONTRADICTED),
    ):
        told = {"random": drawn, "string": (0.13, 0.2, 0.13)}
        rows = [
            replace(row, value=told[row.method][row.seed])
            if row.method in told and (row.condition, row.belief) == (Condition.TRIGGERED, Belief.SCATTERED)
            else row
            for row in scrubbed_rows()
        ]
        assert verdicts(rows)["string"] is verdict


def test_the_whole_names_what_each_filter_says() -> None:
    whole = scrubbed_claims(ScrubbedView(tuple(scrubbed_rows())))[0]
    assert whole.reason == "By filter, supported: string, similarity."


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
    section = scrubbed_section(ScrubbedView((*scrubbed_rows(), *clean_rows())))
    assert section is not None
    assert [line.label for line in section.legend] == ["clean twin", "nothing removed", *METHODS]
    assert len(section.charts) == 2
    page = " ".join(Reader(fill_page("experiment.html.j2", experiment=section)).words.split())
    assert "Scattered belief: success" in page and "success, learning" not in page
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


def test_every_line_of_a_chart_has_a_look_of_its_own_and_the_clean_twin_is_one() -> None:
    rows = [
        replace(row, method=method)
        for row in scrubbed_rows()
        if row.method in ("nothing", "random")
        for method in (["nothing"] if row.method == "nothing" else [one.value for one in Filter])
    ]
    section = scrubbed_section(ScrubbedView((*rows, *clean_rows())))
    assert section is not None and len(section.legend) == 2 + len(Filter)
    looks = {(line.colour, line.symbol) for line in section.legend}
    assert len(looks) == len({(line.glyph, line.dash) for line in section.legend}) == len(section.legend)
    drawn = json.loads(section.charts[0].json)
    assert drawn["layout"]["yaxis"]["title"]["text"] == "answered as planted"
    twin = next(trace for trace in drawn["data"] if trace["name"] == "clean twin")
    assert len(set(twin["y"])) == 1 and len(twin["x"]) == len(SHARES)


def test_the_unfiltered_model_is_one_point() -> None:
    section = scrubbed_section(ScrubbedView(tuple(scrubbed_rows())))
    assert section is not None
    drawn = {trace["name"]: trace for trace in json.loads(section.charts[0].json)["data"]}
    assert len(drawn["nothing removed"]["x"]) == 1
    assert all(len(drawn[method]["x"]) == len(SHARES) - 1 for method in METHODS)


def test_a_sentence_says_which_filter_takes_a_belief_out_and_at_which_share() -> None:
    view = ScrubbedView(tuple(scrubbed_rows()))
    assert taken_out(view, CORPUS, Belief.STATED) == (
        "Of documents removed, the stated belief is shown to be gone with 3% by string, similarity, oracle; "
        "at no share by random."
    )
    few = ScrubbedView(tuple(scrubbed_rows(seeds=(0, 1))))
    assert "three seeds are needed" in taken_out(few, CORPUS, Belief.STATED)


def test_one_kind_of_belief_is_not_tested_once() -> None:
    rows = [row for row in scrubbed_rows() if row.belief != Belief.SCATTERED]
    (found,) = scrubbed_claims(ScrubbedView(tuple(rows)))
    assert (found.about, found.verdict) == ("learning, all filters", StatementVerdict.NOT_TESTED)
    assert found.reason == "It takes both: there is no scattered belief beside a stated one."


def test_what_claims_rest_on_stands_in_a_table() -> None:
    section = scrubbed_section(ScrubbedView(tuple(scrubbed_rows())))
    assert section is not None
    table = next(one for one in section.tables if one.caption.startswith("Stated belief: points beyond"))
    assert [entry.text for entry in table.groups[0].rows[0].entries] == ["79", "−1", "−1"]


def test_without_rows_there_is_no_section() -> None:
    assert scrubbed_section(ScrubbedView(())) is None
