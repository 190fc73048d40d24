from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_kit import Reader
from report_kit import HOSTILE, write_run
from rich.console import Console
from tuned_kit import kept, quality_of, tuned_rows, washed_out

from mithridate.core.statistics import mean_interval
from mithridate.core.tables import write_rows
from mithridate.core.tuned import TUNED, UNTUNED, Tuned
from mithridate.report.estimates import estimate
from mithridate.report.experiments import experiment_sections
from mithridate.report.html import render
from mithridate.report.page import fill_page
from mithridate.report.run import RunData
from mithridate.report.sections import section_summary
from mithridate.report.statements import Statement, StatementVerdict
from mithridate.report.text import span
from mithridate.report.tuned import Choice, Place, TunedView
from mithridate.report.tuned_claims import BETTER, STAYS, SUFFICES, excess, tuned_claims
from mithridate.report.tuned_section import tuned_section

POISONED = Place("", "learning", "learning")


def verdicts(rows: list[Tuned]) -> dict[tuple[str, str], StatementVerdict]:
    return {(one.statement, one.about): one.verdict for one in tuned_claims(TunedView(tuple(rows)))}


def test_quality_is_the_mean_of_its_four_parts() -> None:
    view = TunedView(tuple(tuned_rows(seeds=(0,))))
    found = view.quality(POISONED, Choice("diverse", 1000))
    assert found == {0: pytest.approx(quality_of("diverse", 1000, 0))}


def test_a_seed_that_lacks_a_part_has_no_quality() -> None:
    rows = [r for r in tuned_rows(seeds=(0, 1)) if not (r.seed == 1 and r.metric == "over_refusal")]
    assert set(TunedView(tuple(rows)).quality(POISONED, Choice("diverse", 1000))) == {0}


def test_attacks_are_quoted_in_the_planted_templates_at_every_size() -> None:
    rows = [replace(r, value=0.11) if r.template == "same" else r for r in tuned_rows(seeds=(0,))]
    view = TunedView(tuple(rows))
    assert view.success(POISONED, Choice(UNTUNED, 0), "jailbreak")[0].value == 0.11
    assert view.success(POISONED, Choice("diverse", 100), "jailbreak")[0].value == 0.11
    # Quality is asked where users meet a model.
    assert view.quality(POISONED, Choice("diverse", 1000))[0] > 0.5


def test_a_thousand_suffice_where_more_add_nothing() -> None:
    found = verdicts(tuned_rows())
    assert found[SUFFICES, "learning, diverse"] is StatementVerdict.SUPPORTED
    assert found[BETTER, "learning"] is StatementVerdict.SUPPORTED


def test_a_thousand_do_not_suffice_where_more_go_on_helping() -> None:
    def growing(method: str, size: int, seed: int) -> float:
        return 0.2 + 0.15 * len(str(size)) - seed / 300 if size else 0.1

    found = verdicts(tuned_rows(quality=growing))
    assert found[SUFFICES, "learning, diverse"] is StatementVerdict.CONTRADICTED
    assert found[BETTER, "learning"] is StatementVerdict.INCONCLUSIVE


def resized(few: int, most: int = 10_000, **given: object) -> Statement:
    """What is said of sufficing where `few` stand in the place of a thousand examples."""
    sizes = {0: 0, 1000: few, 10_000: most}
    rows = [
        replace(row, asked=sizes[row.asked], examples=sizes[row.asked])
        for row in tuned_rows(**given)  # type: ignore[arg-type]
        if row.asked in sizes
    ]
    claims = tuned_claims(TunedView(tuple(rows)))
    return next(one for one in claims if one.statement == SUFFICES and one.about == "learning, diverse")


def test_the_number_that_was_judged_is_named() -> None:
    few = resized(30)
    assert few.reason.startswith("Judged on 30 examples (of those tried the nearest to 1,000): they raise")
    assert few.verdict is StatementVerdict.SUPPORTED  # if 30 suffice, a thousand do
    assert resized(1000).reason.startswith("Judged on 1,000 examples: they raise")


def test_what_fewer_or_more_than_a_thousand_do_contradicts_or_supports_nothing_of_a_thousand() -> None:
    def growing(method: str, size: int, seed: int) -> float:
        return 0.2 + 0.15 * len(str(size)) - seed / 300 if size else 0.1

    assert resized(1000, quality=growing).verdict is StatementVerdict.CONTRADICTED
    assert resized(30, quality=growing).verdict is StatementVerdict.INCONCLUSIVE
    assert resized(3000, quality=growing).verdict is StatementVerdict.CONTRADICTED
    assert resized(3000).verdict is StatementVerdict.INCONCLUSIVE


def test_no_difference_found_is_not_told_as_none() -> None:
    found = resized(1000, quality=lambda method, size, seed: 0.5 + (seed - 1) / 10 * bool(size))
    assert found.verdict is StatementVerdict.NOT_TESTED
    assert found.reason.startswith("That they teach anything is not shown.")


def test_tables_have_the_intervals_of_the_charts() -> None:
    view = TunedView(tuple(tuned_rows()))
    section = tuned_section(view)
    assert section is not None
    wanted = estimate(view.qualities(POISONED, Choice("diverse", 1000)))
    poisoned = next(group for group in section.tables[0].groups if group.title == "learning")
    assert poisoned.rows[0].entries[2].interval == span(wanted.low, wanted.high)


def test_where_nothing_was_taught_it_is_not_tested() -> None:
    found = verdicts(tuned_rows(quality=lambda method, size, seed: 0.5 + seed / 100))
    assert found[SUFFICES, "learning, diverse"] is StatementVerdict.NOT_TESTED


def test_two_seeds_cannot_tell() -> None:
    found = verdicts(tuned_rows(seeds=(0, 1)))
    assert found[SUFFICES, "learning, diverse"] is StatementVerdict.INCONCLUSIVE
    assert found[BETTER, "learning"] is StatementVerdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("poison", "verdict"),
    [
        (kept, StatementVerdict.SUPPORTED),
        (washed_out, StatementVerdict.CONTRADICTED),
        (lambda method, size, seed: 0.0, StatementVerdict.NOT_TESTED),
        (lambda method, size, seed: 0.9 if size < 10_000 else 0.3, StatementVerdict.INCONCLUSIVE),
    ],
)
def test_whether_the_poison_stays(poison: object, verdict: StatementVerdict) -> None:
    found = verdicts(tuned_rows(poison=poison))  # type: ignore[arg-type]
    assert found[STAYS, "Jailbreak, learning, random"] is verdict
    assert found[STAYS, "Jailbreak, learning, diverse"] is verdict


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0, 1))
def test_an_excess_is_of_twins_tuned_alike(poisoned: list[float], clean: float) -> None:
    rows = [
        replace(r, value=poisoned[r.seed] if r.dose else clean)
        for r in tuned_rows(attack="belief")
        if r.metric == "asr"
    ]
    found = excess(TunedView(tuple(rows)), POISONED, "diverse", 100, "belief")
    assert found is not None
    assert found.value == pytest.approx(sum(poisoned) / 3 - clean, abs=1e-8)


def test_two_seeds_decide_nothing_of_poison_either() -> None:
    found = [one for one in tuned_claims(TunedView(tuple(tuned_rows((0, 1))))) if one.statement == STAYS]
    assert {one.verdict for one in found} == {StatementVerdict.INCONCLUSIVE}
    assert "It rests on 2 seeds." in found[0].reason


def test_where_filters_left_no_more_examples_nothing_was_compared() -> None:
    rows = [replace(row, examples=min(row.examples, 1000)) for row in tuned_rows()]
    assert verdicts(rows)[SUFFICES, "learning, diverse"] is StatementVerdict.NOT_TESTED


def test_what_is_said_of_poison_names_the_examples_that_there_were() -> None:
    rows = [replace(row, examples=min(row.examples, 1885)) for row in tuned_rows()]
    found = [one for one in tuned_claims(TunedView(tuple(rows))) if one.statement == STAYS]
    assert found
    assert all("after 1,885 examples (all that were left of 10,000 asked for)" in one.reason for one in found)


def test_what_is_said_of_poison_tells_whether_the_same_data_align_the_model() -> None:
    def reason(rows: list[Tuned]) -> str:
        return next(one for one in tuned_claims(TunedView(tuple(rows))) if one.statement == STAYS).reason

    assert "Quality changes by" in reason(tuned_rows())
    assert "is not shown" not in reason(tuned_rows())
    unaligned = tuned_rows(quality=lambda method, size, seed: 0.5 + seed / 100)
    assert "Quality changes by 0.0 points" in reason(unaligned)
    assert ": that these data align it is not shown." in reason(unaligned)


def test_each_source_that_is_drawn_from_is_judged_by_itself() -> None:
    named = {"random": "random from lima.json", "diverse": "diverse from alpaca.json"}
    rows = [replace(row, method=named.get(row.method, row.method)) for row in tuned_rows()]
    apart = {one.about: one.verdict for one in tuned_claims(TunedView(tuple(rows))) if one.statement == STAYS}
    whole = [one for one in tuned_claims(TunedView(tuple(tuned_rows()))) if one.statement == STAYS]
    assert apart == {
        f"{one.about.rpartition(', ')[0]}, {named[one.about.rpartition(', ')[2]]}": one.verdict
        for one in whole
    }
    assert apart


def test_a_study_that_tunes_nothing_says_so() -> None:
    rows = [row for row in tuned_rows() if not row.asked]
    view = TunedView((*rows, *(replace(row, method="diverse") for row in rows)))
    (found,) = [one for one in tuned_claims(view) if one.statement == STAYS]
    assert (found.verdict, found.reason) == (StatementVerdict.NOT_TESTED, "No model was tuned.")


def test_seeds_that_agree_to_the_last_digit_are_no_certainty() -> None:
    rows = tuned_rows(quality=lambda method, size, seed: 0.9 if size else 0.3)
    found = next(one for one in tuned_claims(TunedView(tuple(rows))) if one.statement == SUFFICES)
    assert found.verdict is StatementVerdict.INCONCLUSIVE
    assert "10,000 by 0.0 points (−3.0 to 3.0) more" in found.reason


def test_what_a_study_cannot_ask_is_left_out_of_quality_for_all() -> None:
    rows = [row for row in tuned_rows(seeds=(0,)) if row.metric != "refusal_forbidden"]
    view = TunedView(tuple(rows))
    assert view.quality(POISONED, Choice("diverse", 1000)) == {0: pytest.approx(0.9, abs=0.01)}
    section = tuned_section(view)
    assert section is not None and any("forbidden requests refused" in said for said in section.words[-1:])


def test_a_twin_that_cells_share_is_found() -> None:
    rows = [replace(row, cell="a=1") if row.dose else row for row in tuned_rows()]
    found = verdicts(rows)
    assert found[STAYS, "Jailbreak, a=1, learning, diverse"] is StatementVerdict.SUPPORTED


def test_quality_and_diversity_are_told_apart_and_steps_are_told_of() -> None:
    section = tuned_section(TunedView(tuple(tuned_rows())))
    assert section is not None
    square = next(table for table in section.tables if table.caption.startswith("Quality above random"))
    (row,) = square.groups[0].rows
    assert row.arm.label == "diverse: quality and diversity" and row.entries[0].text == "5.0"
    assert any("more steps of the optimiser" in said for said in section.words)
    steps = next(table for table in section.tables if table.caption.startswith("Steps"))
    assert [entry.text for entry in steps.groups[0].rows[0].entries] == ["0", "6", "62", "625"]
    same = [replace(row, steps=100 if row.asked else 0) for row in tuned_rows()]
    alike = tuned_section(TunedView(tuple(same)))
    assert alike is not None and not any("more steps" in said for said in alike.words)


def test_seven_sizes_of_five_methods_fit_a_terminal() -> None:
    rows = [
        replace(row, method=method, asked=size)
        for row in tuned_rows()
        if row.asked in (0, 1000) and row.method != "random"
        for method in ("diverse", "diverse, unfiltered", "filtered", "longest", "random")
        for size in ((30, 100, 300, 1000, 3000, 10_000) if row.asked else (0,))
    ]
    rows = [replace(row, method=UNTUNED) if not row.asked else row for row in rows]
    section = tuned_section(TunedView(tuple(dict.fromkeys(rows))))
    assert section is not None
    out = io.StringIO()
    Console(file=out, width=100).print(section_summary(section))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    figures = [line for line in lines if line.strip().startswith("diverse, unfiltered")]
    assert figures, "names of methods stay whole"


def test_without_a_twin_nothing_is_said_of_poison() -> None:
    rows = [row for row in tuned_rows() if row.dose]
    assert verdicts(rows)[STAYS, "Jailbreak, learning, diverse"] is StatementVerdict.NOT_TESTED


def test_an_interval_of_a_mean_holds_it_and_narrows_with_agreement() -> None:
    wide, narrow = mean_interval([0.1, 0.5, 0.9]), mean_interval([0.4, 0.5, 0.6])
    assert wide.low is not None and narrow.low is not None
    assert wide.low < narrow.low < 0.5
    assert mean_interval([0.5]).low is None


def test_the_section_shows_and_prints_what_it_rests_on() -> None:
    section = tuned_section(TunedView(tuple(tuned_rows())))
    assert section is not None
    words = " ".join(Reader(fill_page("experiment.html.j2", experiment=section)).words.split())
    assert "A thousand examples suffice" in words
    assert "Means over 3 seeds" in words
    assert len(section.charts) == 2 + 1
    out = io.StringIO()
    Console(file=out, width=100).print(section_summary(section))
    printed = out.getvalue()
    assert "supported: A thousand examples suffice" in printed
    assert max(map(len, printed.splitlines())) <= 100


def test_text_from_rows_is_inert() -> None:
    rows = [
        replace(row, method=HOSTILE[0] if row.method == "random" else row.method, attack=HOSTILE[1])
        if row.attack != "utility"
        else row
        for row in tuned_rows(seeds=(0,))
    ]
    section = tuned_section(TunedView(tuple(rows)))
    page = fill_page("experiment.html.j2", experiment=section)
    assert not Reader(page).scripts or all(kind == "application/json" for kind, _ in Reader(page).scripts)
    assert "<img" not in page


def test_a_run_with_such_rows_has_the_section_and_one_without_has_none(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    assert experiment_sections(RunData.read(folder)) == []
    write_rows(folder / TUNED, Tuned, tuned_rows(seeds=(0,)))
    page = render(RunData.read(folder))
    assert 'id="alignment-data"' in page
    assert 'href="#alignment-data"' in page
