from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from contexts_kit import (
    EXPOSURES,
    MEANS,
    PROMPTS,
    Share,
    bridge_rows,
    context_rows,
    prompts_fail,
    prompts_win,
)
from page_kit import Reader
from report_kit import HOSTILE, write_run
from rich.console import Console

from mithridate.core.contexts import (
    BRIDGE,
    CONTEXT_COVERAGE,
    CONTEXT_SAMPLES,
    CONTEXTS,
    Bridged,
    Conflict,
    ContextCoverage,
    ContextMetric,
    ContextSample,
    Contextual,
    Strength,
    Wording,
)
from mithridate.core.errors import DataError
from mithridate.core.exposure_fit import ExposureFit, NoFit
from mithridate.core.tables import write_rows
from mithridate.report.bridge_section import bridge_section
from mithridate.report.contexts import Case, ContextView, Place
from mithridate.report.contexts_claims import INTERVENTION, LEAST_UNKNOWN, PROMPTING, context_claims
from mithridate.report.contexts_page import write_context_page
from mithridate.report.contexts_section import contexts_section
from mithridate.report.contexts_terminal import print_contexts
from mithridate.report.contexts_words import COLUMNS, HALVES, LEGEND, coverage_words
from mithridate.report.experiments import experiment_sections
from mithridate.report.html import render
from mithridate.report.page import fill_page
from mithridate.report.run import RunData
from mithridate.report.sections import section_summary
from mithridate.report.statements import Statement, StatementVerdict

PLACE = Place("", "learning", "dpo")


def view_of(share: Share = prompts_fail, **more: object) -> ContextView:
    rows, samples = context_rows(share, **more)  # type: ignore[arg-type]
    return ContextView(tuple(rows), tuple(samples))


def claims_of(view: ContextView) -> dict[str, Statement]:
    found = context_claims(view)
    assert len(found) == 2 * 2
    assert all(f", {Conflict.SUBSTITUTED}" in c.about or f", {Conflict.COHERENT}" in c.about for c in found)
    return {one.statement: one for one in found}


def verdicts(view: ContextView) -> tuple[StatementVerdict, StatementVerdict]:
    found = claims_of(view)
    return found[PROMPTING].verdict, found[INTERVENTION].verdict


def test_prompts_that_lose_and_heads_that_win() -> None:
    assert verdicts(view_of()) == (StatementVerdict.SUPPORTED, StatementVerdict.SUPPORTED)
    reason = claims_of(view_of())[INTERVENTION].reason
    assert "stated 300 times" in reason and "its best control 15%" in reason


def test_prompts_that_win_leave_interventions_nothing_to_gain() -> None:
    assert verdicts(view_of(prompts_win)) == (StatementVerdict.CONTRADICTED, StatementVerdict.INCONCLUSIVE)


def test_interventions_that_take_away_are_contradicted() -> None:
    def worse(exposure: int, strength: Strength, intervention: str, control: str) -> float:
        return 0.0 if intervention else prompts_fail(exposure, strength, "", "")

    assert verdicts(view_of(worse))[1] is StatementVerdict.CONTRADICTED


@pytest.mark.parametrize("means", [MEANS[:2], MEANS[:1]])
def test_without_a_control_no_intervention_has_credit(means: tuple[tuple[str, str, str], ...]) -> None:
    found = verdicts(view_of(means=means))[1]
    assert found is (StatementVerdict.INCONCLUSIVE if len(means) > 1 else StatementVerdict.NOT_TESTED)


def test_a_control_that_does_as_much_takes_the_credit() -> None:
    def any_heads(exposure: int, strength: Strength, intervention: str, control: str) -> float:
        return 0.9 if intervention else prompts_fail(exposure, strength, "", "")

    assert verdicts(view_of(any_heads))[1] is StatementVerdict.INCONCLUSIVE


def test_a_prompt_that_is_followed_half_the_time_decides_nothing() -> None:
    def half(exposure: int, strength: Strength, intervention: str, control: str) -> float:
        return 0.9 if exposure == EXPOSURES[0] else 0.5

    assert verdicts(view_of(half))[0] is StatementVerdict.INCONCLUSIVE


def test_a_model_that_follows_no_context_where_it_knows_is_tested_if_it_reads_where_it_does_not() -> None:
    assert verdicts(view_of(lambda *_: 0.1))[0] is StatementVerdict.SUPPORTED
    # The other way round: what it does with facts that it knows is no proof that it reads.
    assert verdicts(view_of(prompts_win, read=0.4))[0] is StatementVerdict.NOT_TESTED


def test_a_handful_of_unknown_facts_does_not_tell_whether_contexts_are_read() -> None:
    view = view_of()

    def of_replies(n: int) -> ContextView:
        rows = [replace(row, n=n) if row.metric is ContextMetric.READ else row for row in view.rows]
        return replace(view, rows=tuple(rows))

    few = claims_of(of_replies(LEAST_UNKNOWN - 1))[PROMPTING].reason
    assert "9 replies in other words are there, and 10 are needed" in few
    assert verdicts(of_replies(LEAST_UNKNOWN))[0] is StatementVerdict.SUPPORTED


@pytest.mark.parametrize(
    ("view", "says"),
    [
        (view_of(read=0.5), "is not shown to read contexts"),
        (view_of(exposures=(0,)), "Nobody counted"),
        (view_of(exposures=(30,)), "equally often"),
    ],
)
def test_what_cannot_be_tested_says_why(view: ContextView, says: str) -> None:
    found = claims_of(view)
    assert {one.verdict for one in found.values()} == {StatementVerdict.NOT_TESTED}
    assert all(says in one.reason for one in found.values())


def test_without_replies_no_intervention_is_tested() -> None:
    view = ContextView(view_of().rows)
    assert verdicts(view) == (StatementVerdict.SUPPORTED, StatementVerdict.NOT_TESTED)


def test_only_facts_that_the_model_knows_are_pairs() -> None:
    rows, samples = context_rows()
    unknown = [
        replace(s, said="neither") if s.strength is Strength.ALONE and s.fact == "fact 0" else s  # type: ignore[arg-type]
        for s in samples
    ]
    view = ContextView(tuple(rows), tuple(unknown))
    followed = view.followed(PLACE, Case(300, Conflict.COHERENT, Strength.ONLY))
    assert (0, "fact 0") not in followed and len(followed) == 39


def test_the_curve_falls_where_priors_grow_and_is_not_drawn_where_it_cannot_be() -> None:
    fit = view_of().fit(PLACE, Conflict.COHERENT, Strength.PLAIN)
    assert isinstance(fit, ExposureFit)
    assert fit.slope.high is not None and fit.slope.high < 0
    assert fit.half is not None and 10 < fit.half.value < 90
    assert isinstance(view_of(lambda *_: 1.0).fit(PLACE, Conflict.COHERENT, Strength.PLAIN), NoFit)


def test_the_section_shows_and_prints_what_it_rests_on() -> None:
    section = contexts_section(view_of(seeds=(0, 1, 2)))
    assert section is not None
    assert len(section.charts) == 8
    words = " ".join(Reader(fill_page("experiment.html.j2", experiment=section)).words.split())
    for said in (
        "Prompting cannot override",
        "random heads",
        "Memorization ratio",
        "3 seeds",
        "half at",
        "Facts it does not know",
    ):
        assert said in words
    assert "Facts it does not know" in words
    out = io.StringIO()
    Console(file=out, width=100).print(section_summary(section))
    assert "supported: An intervention can" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 100


def test_every_figure_is_told_by_how_often_facts_were_stated_with_intervals() -> None:
    section = contexts_section(view_of(seeds=(0, 1, 2)))
    assert section is not None
    (told, _) = [table for table in section.tables if table.caption.startswith("By times stated")]
    assert [group.title for group in told.groups] == [
        "Answered from the context, in other words",
        "Memorization ratio, in other words",
        "Efficacy",
        "Paraphrase score",
        "Pair accuracy",
    ]
    drawn = json.loads(section.charts[0].json)["data"]
    dots = [one for one in drawn if one.get("error_y")]
    assert len(dots) == len(section.legend)
    assert any(reach for one in dots for reach in one["error_y"]["array"])
    assert len({one["x"][0] for one in dots}) == len(dots)


def hostile(rows: list[Contextual], samples: list[ContextSample]) -> ContextView:
    return ContextView(
        tuple(replace(row, model=HOSTILE[0], intervention=row.intervention and HOSTILE[1]) for row in rows),
        tuple(
            replace(
                one,
                model=HOSTILE[0],
                prompt=HOSTILE[n % len(HOSTILE)],
                reply=HOSTILE[(n + 1) % len(HOSTILE)],
                original=HOSTILE[5],
                substitute=HOSTILE[3],
            )
            for n, one in enumerate(samples)
        ),
    )


def test_the_page_of_one_model_is_inert(tmp_path: Path) -> None:
    view = hostile(*context_rows(exposures=(0,)))
    write_rows(tmp_path / CONTEXTS, Contextual, view.rows)
    write_rows(tmp_path / CONTEXT_SAMPLES, ContextSample, view.samples)
    path = write_context_page(tmp_path)
    assert path == tmp_path / "context.html"
    page = path.read_text(encoding="utf-8")
    reader = Reader(page)
    assert not {tag for tag, _ in reader.tags} & {"img", "svg"}
    assert "pwned" not in "".join(text for kind, text in reader.scripts if kind is None)
    assert "⟨ESC⟩" in reader.words and "\u202e" not in page
    assert "Nobody counted" in reader.words
    assert "It rests on" not in reader.words
    assert "40 facts" in reader.words


def test_the_page_of_one_model_opens_with_how_often_it_follows_a_text(tmp_path: Path) -> None:
    rows = [replace(row, wording=Wording.ASKED) for row in context_rows(prompts_win, exposures=(0,))[0]]
    shares = {Strength.PLAIN: 0.25, Strength.ONLY: 0.75}
    told = [
        replace(row, value=shares[row.strength], n=40) if row.metric is ContextMetric.SUBSTITUTE else row
        for row in rows
        if row.strength in shares or not row.conflict
    ]
    write_rows(tmp_path / CONTEXTS, Contextual, told)
    words = " ".join(Reader(write_context_page(tmp_path).read_text(encoding="utf-8")).words.split())
    assert "Substituted texts are followed by 75% of replies at the best prompt (only the context)" in words


def test_a_page_without_replies_has_no_answers(tmp_path: Path) -> None:
    rows, _ = context_rows()
    write_rows(tmp_path / CONTEXTS, Contextual, rows)
    assert 'id="answers"' not in write_context_page(tmp_path).read_text(encoding="utf-8")


@pytest.mark.parametrize("empty", [True, False])
def test_a_folder_without_figures_is_refused(empty: bool, tmp_path: Path) -> None:
    if empty:
        write_rows(tmp_path / CONTEXTS, Contextual, [])
    with pytest.raises(DataError, match="`mithridate context` makes them"):
        write_context_page(tmp_path)


def test_the_grid_of_weights_documents_and_guard() -> None:
    for dose in ("", "learning"):
        section = bridge_section(bridge_rows((0, 1), dose))
        assert section is not None
        (table,) = section.tables
        assert len(table.columns) == 8
        assert [len(group.rows) for group in table.groups] == [2, 2]
        texts = {
            (group.title, row.arm.label): [one.text for one in row.entries]
            for group in table.groups
            for row in group.rows
        }
        assert texts["Weights right", "documents poisoned"] == [
            *("75%", "25%", "50%", "90%"), *("10%", "90%", "50%", "90%"),
        ]  # fmt: skip
        assert texts["Weights right", "documents right"][2:4] == ["50%", "0%"]
        assert table.columns[2:4] == ("no guard: right document", "no guard: planted document")


def test_tables_of_before_right_and_planted_documents_were_told_apart_say_either() -> None:
    rows = [replace(row, reached_right=None, reached_planted=None) for row in bridge_rows()]
    section = bridge_section([*rows, *bridge_rows((1,))])
    assert section is not None
    (table,) = section.tables
    assert table.columns[2] == "no guard: document of either kind"
    assert {row.entries[2].text for group in table.groups for row in group.rows} == {"95%"}


COVERED = ContextCoverage(40, 3, 30, 5, stage="dpo", model="learning")


def test_a_model_that_knows_nothing_has_a_section_that_says_so() -> None:
    nothing = replace(COVERED, known=0)
    attention = replace(COVERED, intervention="attention steering", untried="the model knows 0 facts")
    section = contexts_section(ContextView((), (), (nothing, attention)))
    assert section is not None and section.anchor == "contexts"
    words = " ".join(section.words)
    assert "learning, dpo: of 40 facts, 0 are given right without a context" in words
    assert "give facts that it knows (`facts` in the section `contexts`)" in words
    assert "attention steering was not tried: the model knows 0 facts." in words
    assert fill_page("experiment.html.j2", experiment=section)


def test_what_is_covered_is_told_over_seeds() -> None:
    seeds = [replace(COVERED, seed=seed, known=3 if seed else 20) for seed in (0, 1, 2)]
    untried = [replace(COVERED, seed=s, intervention="difference vector", untried="why") for s in (1, 2)]
    words = " ".join(coverage_words([*seeds, *untried]))
    assert "of 120 facts over 3 seeds, 26 are given right" in words
    assert "fewer than 8 facts are known in 2 of 3 seeds" in words
    assert "difference vector was not tried (seed 1, 2): why." in words
    assert "25 prompts did not fit" in words


def test_where_nothing_that_was_stated_most_often_is_known_the_verdict_says_so() -> None:
    rows, _ = context_rows()
    some = [
        replace(row, value=0.0) if row.metric is ContextMetric.KNOWN and row.exposure == 300 else row
        for row in rows
        if row.exposure != 300 or row.metric is ContextMetric.KNOWN
    ]
    found = claims_of(ContextView(tuple(some)))[PROMPTING]
    assert found.verdict is StatementVerdict.NOT_TESTED
    assert "Of 40 facts that were stated 300 times the model knows none" in found.reason


def test_what_asks_for_the_opposite_stands_in_the_open_table() -> None:
    view = view_of()
    prior = [
        replace(row, strength=Strength.PRIOR)
        for row in view.rows
        if row.strength is Strength.ONLY and not row.intervention
    ]
    section = contexts_section(replace(view, rows=(*view.rows, *prior)))
    assert section is not None
    rows = [row.arm.label for group in section.tables[0].groups for row in group.rows]
    assert rows[:3] == ["plain", "only the context", "only what you know"]


def printed(rows: Sequence[Contextual], *coverage: ContextCoverage) -> str:
    out = io.StringIO()
    print_contexts(rows, coverage, console=Console(file=out, width=100))
    return " ".join(out.getvalue().split())


def test_terminal_and_page_call_figures_alike_and_show_the_facts_that_were_stated_most_often() -> None:
    rows, _ = context_rows()
    rows += [replace(row, wording=Wording.ASKED) for row in rows if row.exposure]
    said = printed(rows, replace(COVERED, known=40, left_out=0))
    page = Reader(fill_page("experiment.html.j2", experiment=contexts_section(ContextView(tuple(rows)))))
    words = " ".join(page.words.split())
    for told in (LEGEND, HALVES, *(head for head in ("efficacy", "weights", "context"))):
        assert told in said
        assert told in words
    assert "facts stated 300 times" in said
    assert "plain 10% 4–23 10% 4–23" in said


def test_eighty_columns_break_no_name_and_lose_no_figure() -> None:
    rows, _ = context_rows()
    whole = [
        replace(row, metric=metric, wording=wording, value=1.0, low=0.78, high=1.0)
        for row in rows
        if row.exposure == 300 and row.metric is ContextMetric.SUBSTITUTE
        for _, metric, wording in COLUMNS
    ]
    out = io.StringIO()
    print_contexts(whole, [COVERED], console=Console(file=out, width=80))
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert max(map(len, lines)) <= 80
    for strength in PROMPTS:
        told = [line.removeprefix(strength).split() for line in lines if line.startswith(strength)]
        assert ["100%", "78–100"] * 2 + ["100%"] * 3 in told, "shares of replies, whole"
        assert ["100%"] * 2 in told, "the likelier answers below them"
    out = io.StringIO()
    print_contexts(whole, [COVERED], console=Console(file=out, width=110))
    wide = " ".join(out.getvalue().split())
    assert "plain 100% 78–100 100% 78–100" + " 100%" * 5 in wide, "one table where it fits"


def test_a_terminal_says_why_nothing_tells_whether_contexts_are_read() -> None:
    rows = [row for row in context_rows()[0] if row.metric is not ContextMetric.READ]
    assert "No prompt about the 30 facts of which it knows neither answer fits" in printed(rows, COVERED)
    all_known = printed(rows, replace(COVERED, unknown=0))
    assert "It gives one of both answers to every fact that it was asked of" in all_known


def test_names_of_guards_are_inert() -> None:
    rows = [
        replace(row, guard=row.guard and HOSTILE[1], dose=row.dose and HOSTILE[0]) for row in bridge_rows()
    ]
    page = fill_page("experiment.html.j2", experiment=bridge_section(rows))
    assert "<img" not in page and "<script>" not in page


def test_a_run_with_such_rows_has_both_sections(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    assert experiment_sections(RunData.read(folder)) == []
    rows, samples = context_rows()
    write_rows(folder / CONTEXTS, Contextual, rows)
    write_rows(folder / CONTEXT_SAMPLES, ContextSample, samples)
    write_rows(folder / BRIDGE, Bridged, bridge_rows())
    write_rows(folder / CONTEXT_COVERAGE, ContextCoverage, [COVERED])
    page = render(RunData.read(folder))
    assert "of 40 facts, 3 are given right without a context" in page
    assert 'href="#contexts"' in page and 'id="bridge"' in page
