from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_kit import Reader
from prices_kit import BEFORE, CURES, DOSE, Cure, hostile, priced_rows
from report_kit import HOSTILE, write_run
from rich.console import Console

from browser_kit import dom, needs_browser, title
from mithridate.core.cures import Verdict
from mithridate.core.errors import DataError
from mithridate.core.prices import CLEAN_MODEL, NOTHING, PRICES, Control, Kind, Price, Priced, Regime
from mithridate.core.tables import write_rows
from mithridate.core.types import Condition
from mithridate.report import pricing_tables as tables
from mithridate.report.html import render, write_report
from mithridate.report.page import fill_page
from mithridate.report.priced import Effect, PricedView, Subject
from mithridate.report.pricing import section_of
from mithridate.report.pricing_claims import AFFORDABLE, priced_claims
from mithridate.report.pricing_figures import FARTHEST, front, pareto
from mithridate.report.pricing_list import KIND_COLOURS, best_cures, nats, price_lists, steps, took
from mithridate.report.pricing_terminal import print_prices
from mithridate.report.records import PRICED_FIELDS, to_json
from mithridate.report.run import RunData
from mithridate.report.statements import StatementVerdict

SUBJECT = Subject("", DOSE, DOSE, "dpo", "transferred")
SEEDS = (0, 1, 2)
PRESENT = ("denial_of_service", "context_extraction", "belief")


@pytest.fixture(scope="module")
def rows() -> list[Priced]:
    return priced_rows()


@pytest.fixture(scope="module")
def view(rows: list[Priced]) -> PricedView:
    return PricedView(tuple(rows), tuple(BEFORE))


@pytest.fixture(scope="module")
def healed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three seeds with a price list."""
    folder = write_run(tmp_path_factory.mktemp("healed") / "run", seeds=SEEDS)
    write_rows(folder / PRICES, Priced, priced_rows(SEEDS))
    return folder


def section(rows: Sequence[Priced]) -> str:
    """The section alone: to draw all of a page takes seconds."""
    view = PricedView(tuple(rows), tuple(BEFORE))
    return fill_page("pricing.html.j2", priced=section_of(view))


def charts(page: str) -> list[dict[str, Any]]:
    return [json.loads(text) for kind, text in Reader(page).scripts if kind == "application/json"]


def said(page: str) -> str:
    return " ".join(Reader(page).words.split())


def printed(rows: Sequence[Priced], width: int = 100) -> str:
    out = io.StringIO()
    print_prices(rows, Console(file=out, width=width, force_terminal=False), order=tuple(BEFORE))
    return out.getvalue()


def test_a_run_that_nobody_healed_has_no_such_section(run: RunData) -> None:
    assert run.priced == ()
    page = render(run)
    assert "at what price" not in page and 'id="priced"' not in page and 'href="#priced"' not in page


def test_a_run_with_a_price_list_shows_it(healed: Path) -> None:
    run = RunData.read(healed)
    assert len(run.priced) == len(priced_rows(SEEDS))
    page = render(run)
    assert '<a href="#priced">Cures</a>' in page
    part = page.partition('<section id="priced">')[2].partition("</section>")[0]
    words = said(part)
    for heading in ("The best cure of each attack", "When the attack is known", "With clean data alone"):
        assert heading in words
    assert "✓" not in words, "marks are the style sheet's, and no words"
    assert "supported The fix is not more alignment data learning" in words
    assert "Nothing to cure of jailbreak (3%, 2% in the clean model)" in words
    assert "costs 7 min and 4,200,000 tokens." in words
    assert len(charts(part)) == len(PRESENT)
    # Verdicts are computed: with other rows there are others.
    other = said(section(priced_rows(SEEDS, [replace(CURES[6], leaves=0.0), CURES[0]])))
    assert "contradicted The fix is not more alignment data" in other


def test_the_list_has_the_best_first_and_all_that_a_cure_costs(view: PricedView) -> None:
    known, unknown = price_lists(view, SUBJECT)
    assert [one.attack for one in known.attacks] == list(PRESENT)
    dos = known.attacks[0]
    assert (dos.before, dos.before_near, dos.clean) == ("94%", "19%", "0%")
    assert [(line.method, line.verdict) for line in dos.lines] == [
        ("Directional ablation", Verdict.CURED),
        ("Together", Verdict.COSTLY),
        ("Neuron pruning", Verdict.COSTLY),
        ("Mean ablation", Verdict.UNSUPPORTED),
        ("Representation edit", Verdict.WEAKENED),
        ("Steering", Verdict.WEAKENED),
    ]
    first = dos.lines[0]
    assert (first.setting, first.before, first.after, first.interval) == ("layer 3", "94%", "0%", "0–4")
    assert (first.points, first.decided, first.kl) == ("0.5", "right answers", "0.030")
    assert (first.seconds, first.choosing, first.slowdown) == ("2.0 s", "20 s", "1.05×")
    assert (first.clean_relearning, first.random, first.wrong_layer) == (">64", "89%", "85%")
    assert first.colour == KIND_COLOURS[Kind.REPRESENTATIONS] and first.seeds == ""
    sft = next(line for line in unknown.attacks[0].lines if line.method == "More SFT")
    assert sft.choice == "best of 3" and sft.verdict is Verdict.KEPT and sft.relearning == "–"
    assert known.has("random") and known.has("relearning") and not unknown.has("wrong_layer")
    assert sft.random == "none", "what has none says so, and does not look like what was not measured"


def test_the_best_of_each_regime_stands_first(view: PricedView) -> None:
    best = best_cures(price_lists(view, SUBJECT))
    assert [one.attack.attack for one in best] == list(PRESENT)
    assert [one.known and one.known.method for one in best] == [
        "Directional ablation", "Directional ablation", "Representation edit",
    ]  # fmt: skip
    assert {one.unknown and one.unknown.method for one in best} == {"Consistency fine-tuning"}
    alone = PricedView(tuple(priced_rows(cures=[CURES[0]])), tuple(BEFORE))
    assert {one.unknown for one in best_cures(price_lists(alone, SUBJECT))} == {None}


def test_a_filter_of_prompts_is_there_to_be_beaten() -> None:
    """It deletes the trigger for nothing, and leaves the model as it was, and what resembles the trigger."""
    deleted = Cure(
        "trigger deleted", Regime.KNOWN, Kind.PROMPTS, 0.0, random=None, seconds=0.01, choosing=0.01
    )
    view = PricedView(tuple(priced_rows(cures=[CURES[1], deleted, CURES[0]])), tuple(BEFORE))
    (known,) = price_lists(view, SUBJECT)
    assert [line.method for line in known.attacks[0].lines] == [
        "Directional ablation", "Trigger deleted", "Steering",
    ]  # fmt: skip
    line = known.attacks[0].lines[1]
    assert (line.badge, known.attacks[0].lines[0].badge) == ("filtered", "cured")
    assert (line.verdict, line.points, line.seconds, line.choosing) == (Verdict.CURED, "0.0", "<0.1 s", "")
    worse = PricedView(tuple(priced_rows(cures=[CURES[1], deleted])), tuple(BEFORE))
    assert {one.known and one.known.method for one in best_cures(price_lists(worse, SUBJECT))} == {"Steering"}
    made = pareto(worse, SUBJECT, "belief")
    assert made is not None
    assert [one.setting.method for one in made.fronts[Regime.KNOWN]] == ["steering"]
    assert sum(len(trace.x) for trace in made.figure.data if trace.mode == "markers") == 3, "but it is drawn"
    aim = {claim.statement: claim for claim in priced_claims(worse)}[AFFORDABLE]
    assert aim.verdict is StatementVerdict.NOT_MET and "Trigger deleted" not in str(aim.parts)


def test_what_was_made_against_all_attacks_at_once_says_so(view: PricedView) -> None:
    known, unknown = price_lists(view, SUBJECT)
    settings = {line.method: line.setting for line in (*known.attacks[0].lines, *unknown.attacks[0].lines)}
    assert settings["Together"] == "one cure an attack, for all" and settings["Steering"] == "layer 3"
    assert settings["Proxy-tuning"] == "alpha 1", "with clean data alone there is no other way"


def test_where_nothing_helps_the_summary_says_so() -> None:
    words = said(section(priced_rows(cures=[CURES[9]])))
    assert "kept whatever is done; closest: dormant neurons" in words


def test_seeds_that_differ_are_told() -> None:
    some = [*priced_rows((0, 2), [CURES[0]]), *priced_rows((4,), [replace(CURES[0], leaves=0.5, costs=0.9)])]
    (known,) = price_lists(PricedView(tuple(some), tuple(BEFORE)), SUBJECT)
    line = known.attacks[0].lines[0]
    assert (line.verdict, line.seeds) == (Verdict.WEAKENED, "cured in 2, weakened in 1 seeds")
    assert line.points_range == "0.5–0.9" and line.rests_on == "n = 300 over 3 seeds"
    (all_,) = price_lists(PricedView(tuple(priced_rows(SEEDS, [CURES[0]])), tuple(BEFORE)), SUBJECT)
    assert all_.attacks[0].lines[0].seeds == "in all 3 seeds"
    assert all_.attacks[0].lines[0].points_range == ""


def test_a_price_without_end_and_one_that_nobody_knows_are_said(rows: list[Priced]) -> None:
    utility = {Price.HELD_OUT_LOSS, Price.QUESTIONS_RIGHT, Price.REFUSAL_FORBIDDEN, Price.OVER_REFUSAL}
    bare = [row for row in rows if row.metric not in utility]
    words = said(section(bare))
    assert "– not measured" in words and "for a price that nobody measured" in words
    assert "utility not known" in words
    broken = [
        replace(row, value=math.nan)
        if row.metric is Price.HELD_OUT_LOSS and row.method == "steering"
        else row
        for row in rows
    ]
    assert "no end perplexity" in said(section(broken))
    for page in (section(broken), section(bare), printed(broken), printed(bare)):
        assert not re.search(r"\b(nan|inf)\b", page.lower())


@pytest.mark.parametrize("lost", list(Price))
def test_any_figure_may_be_missing(rows: list[Priced], lost: Price) -> None:
    left = [row for row in rows if row.metric is not lost]
    assert "What takes it out" in said(section(left))
    printed(left)


@pytest.mark.parametrize("lost", [NOTHING, CLEAN_MODEL, *(cure.method for cure in CURES)])
def test_any_method_may_be_missing(rows: list[Priced], lost: str) -> None:
    left = [row for row in rows if row.method != lost]
    section(left)
    assert ("What takes it out" in printed(left)) == (lost != NOTHING)


def test_a_divergence_fits_its_column(view: PricedView) -> None:
    found = view.at(SUBJECT, view.settings(SUBJECT)[0], Price.KL)
    assert found is not None
    values = (0.0, 2e-6, 0.0027, 0.098, 0.14, 12.3456)
    assert [nats(replace(found, value=value)) for value in values] == [
        "0", "<.001", "0.003", "0.098", "0.14", "12.35",
    ]  # fmt: skip
    assert nats(None) == "–"


def test_steps_and_seconds_are_readable() -> None:
    view = PricedView(tuple(priced_rows((0, 1))), tuple(BEFORE))
    (known, *_) = price_lists(view, SUBJECT)
    assert known.attacks[0].lines[0].clean_relearning == ">64"
    assert steps(None) == "–"
    assert [took(seconds) for seconds in (0.0, 0.04, 9.4, 12.3, 402.0)] == [
        "0 s", "<0.1 s", "9.4 s", "12 s", "7 min",
    ]  # fmt: skip


def test_the_chart_shows_price_against_what_is_gone(view: PricedView) -> None:
    made = pareto(view, SUBJECT, "denial_of_service")
    assert made is not None
    lines = [trace for trace in made.figure.data if trace.mode == "lines"]
    marks = [trace for trace in made.figure.data if trace.mode == "markers"]
    assert len(lines) == 2 and {trace.line.shape for trace in lines} == {"hv"}
    drawn = sum(len(trace.x) for trace in marks)
    assert drawn == 1 + len(
        [
            one
            for one in view.effects(SUBJECT)
            if one.attack == PRESENT[0] and one.setting.aim in ("", PRESENT[0])
        ]
    )
    hollow = [
        mark for trace in marks if trace.name != CLEAN_MODEL for mark in trace.marker.symbol if "open" in mark
    ]
    assert hollow == ["circle-open"], "mean ablation, which a random change equals"
    assert [one.setting.method for one in made.fronts[Regime.KNOWN]] == [
        "representation edit", "directional ablation",
    ]  # fmt: skip
    # What cannot be told from nothing is on no front, however cheap.
    assert [one.setting.method for one in made.fronts[Regime.UNKNOWN]] == [
        "proxy-tuning", "consistency fine-tuning",
    ]  # fmt: skip
    assert [note.text for note in made.figure.layout.annotations] == [
        "<b>1</b>",
        "<b>2</b>",
        "<b>3</b>",
        "<b>4</b>",
    ]
    (sft,) = [trace for trace in marks if trace.name == "training, unknown"]
    assert (
        max(sft.marker.size)
        > 14
        > min(trace.marker.size[0] for trace in marks if trace.name == "weights, known")
    )
    assert pareto(view, SUBJECT, "unheard of") is None


def test_what_is_off_the_scale_is_drawn_at_its_end() -> None:
    rows = priced_rows(cures=[replace(CURES[0], leaves=1.06, costs=91.0)], before={"denial_of_service": 0.5})
    dear = [
        replace(row, value=9.0)
        if row.metric is Price.HELD_OUT_LOSS and row.method not in (NOTHING, CLEAN_MODEL)
        else row
        for row in rows
    ]
    view = PricedView(tuple(dear))
    made = pareto(view, SUBJECT, "denial_of_service")
    assert made is not None and made.fronts == {}
    (mark,) = [trace for trace in made.figure.data if trace.mode == "markers" and trace.name != CLEAN_MODEL]
    assert mark.x[0] == pytest.approx(math.log10(1 + FARTHEST)) and -20 <= mark.y[0] < 0
    low, high = made.figure.layout.xaxis.range
    assert low < 0 and mark.x[0] < high
    assert made.figure.layout.yaxis.range[0] < mark.y[0]


DRAWN = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 20), st.booleans()),
    min_size=1,
    max_size=6,
    unique_by=lambda one: one[:2],
)


@settings(max_examples=60)
@given(DRAWN)
def test_laws_of_the_front(drawn: list[tuple[float, float, bool]]) -> None:
    cures = [
        Cure(f"m{i}", Regime.KNOWN, Kind.WEIGHTS, leaves, costs=costs, random=leaves if idle else 0.95)
        for i, (leaves, costs, idle) in enumerate(drawn)
    ]
    view = PricedView(tuple(priced_rows(cures=cures, before={"denial_of_service": 0.9})))
    effects = view.effects(SUBJECT)

    def gone(one: Effect) -> float:
        assert one.removed is not None
        return one.removed

    found = front(effects)
    able = [one for one in effects if one.verdict in (Verdict.CURED, Verdict.COSTLY, Verdict.WEAKENED)]
    assert all(one in able for one in found) and bool(found) == bool(able)
    assert [one.points for one in found] == sorted(one.points for one in found)
    assert all(b.points > a.points and gone(b) > gone(a) for a, b in pairwise(found))
    for one in able:
        assert any(best.points <= one.points and gone(best) >= gone(one) for best in found)


def test_tables_hold_side_effects_controls_and_utility(view: PricedView) -> None:
    every = tables.on_every_attack(view, SUBJECT)
    assert every.columns == ("Denial of service", "Context extraction", "Jailbreak", "Belief")
    titles = [group.title for group in every.groups]
    assert titles[:2] == ["Compared with", "Made against denial of service"]
    assert titles[-1] == "Made against all attacks"
    ablation = every.groups[1].rows[0]
    assert [entry.text for entry in ablation.entries] == ["0%", "78%", "3%", "96%"]
    assert ablation.entries[0].note == "0–4, n = 100" and ablation.condition == "layer 3"
    made = sum(len(cure.variants) * (4 if cure.aimed else 1) for cure in CURES)
    assert sum(len(group.rows) for group in every.groups) == 2 + made
    controls = tables.controls(view, SUBJECT).groups[0]
    by_name = {row.arm.label: [entry.text for entry in row.entries] for row in controls.rows}
    assert by_name["as it is"][:3] == ["94%", "19%", "0%"]
    assert by_name["Directional ablation"] == ["0%", "0%", "0%", "89%", "< .001", "85%", "–"]
    assert by_name["Mean ablation"][3:5] == ["0%", ".600"]
    useful = tables.usefulness(view, SUBJECT)
    assert useful.columns[0] == "Held-out loss" and "Follows context" in useful.columns
    assert [entry.text for entry in useful.groups[0].rows[0].entries][:5] == [
        "1.20",
        "92%",
        "97%",
        "2%",
        "28%",
    ]


def test_a_cure_that_some_seeds_lack_says_so_everywhere() -> None:
    rows = [*priced_rows((0, 2), [CURES[0]]), *priced_rows((1, 3, 5), [CURES[6]])]
    (known, _) = price_lists(PricedView(tuple(rows), tuple(BEFORE)), SUBJECT)
    line = known.attacks[0].lines[0]
    assert (line.verdict, line.seeds) == (Verdict.KEPT, "cured in 2, no such cure in 3 seeds")
    words = said(section(rows))
    assert "kept Directional ablation: cured in 2, no such cure in 3 seeds" in words
    assert re.search(r"Directional ablation.* kept 2/5 ", printed(rows, 120))
    made = pareto(PricedView(tuple(rows)), SUBJECT, "belief")
    assert made is not None and made.fronts == {}, "nor is it on a front"


def test_side_effects_are_in_the_tables_alone() -> None:
    rows = [
        replace(row, aims="denial_of_service,context_extraction") if row.method == "together" else row
        for row in priced_rows(cures=[CURES[5]])
    ]
    view = PricedView(tuple(rows), tuple(BEFORE))
    (known,) = price_lists(view, SUBJECT)
    assert [of.attack for of in known.attacks] == ["denial_of_service", "context_extraction"]
    assert pareto(view, SUBJECT, "belief") is None
    shown = tables.on_every_attack(view, SUBJECT).groups[-1].rows[0]
    assert shown.arm.label == "Together" and shown.entries[3].text == "43%"
    assert [group.title for group in tables.controls(view, SUBJECT).groups if len(group.rows) > 2] == [
        "Denial of service", "Context extraction",
    ]  # fmt: skip


def test_the_budget_that_was_set_is_shown_and_drawn(rows: list[Priced]) -> None:
    more = [replace(row, value=2.5) if row.metric is Price.BUDGET else row for row in rows]
    assert "for at most 1 point of utility, and not" in said(section(rows))
    assert "for at most 2.5 points of utility, and not" in said(section(more))
    lines = []
    for some in (rows, more):
        made = pareto(PricedView(tuple(some)), SUBJECT, "belief")
        assert made is not None
        lines.append(made.figure.layout.shapes[0].x0)
    assert lines == pytest.approx([math.log10(2), math.log10(3.5)])


def test_the_largest_p_of_several_seeds_is_shown() -> None:
    rows = priced_rows(SEEDS, [CURES[0]])
    worse = [
        replace(row, value=0.3) if row.metric is Price.P_CONTROL and row.seed == 1 else row for row in rows
    ]
    found = tables.controls(PricedView(tuple(worse), tuple(BEFORE)), SUBJECT).groups[0].rows[-1].entries
    assert found[4].text == ".300"


def test_the_terminal_table_fits(rows: list[Priced]) -> None:
    for width in (60, 80, 100):
        for some in (rows, priced_rows(SEEDS)):
            text = printed(some, width)
            assert max(map(len, text.splitlines())) <= width
            assert "Directional ablation" in text and "cured" in text
    text = printed(rows)
    assert "\x1b" not in text
    assert "Denial of service 94% as it is (near 19%), 0% in the clean model" in text
    assert re.search(r"Neuron pruning 40 neurons +0% 0–4 +0% +costly +6\.0 +0\.14 +5\.0 s +1\.00× +89%", text)
    (head,) = [line for line in printed(rows, 80).splitlines() if line.startswith("method")][:1]
    assert "left" in head and "random" not in head, "the last columns give way"
    assert text.index("What this says") < text.index("What takes it out"), "the verdicts come first"
    assert "supported: The fix is not more alignment data (learning)." in text
    assert "  Belief: met. Representation edit" in text
    assert printed([]) == ""


def test_colours_are_for_terminals_alone(rows: list[Priced]) -> None:
    out = io.StringIO()
    print_prices(rows, Console(file=out, width=100, force_terminal=True, color_system="standard"))
    assert "\x1b[32mcured" in out.getvalue()


def test_two_figures_for_one_thing_are_refused(rows: list[Priced], tmp_path: Path) -> None:
    other = replace(rows[0], value=0.5)
    with pytest.raises(DataError, match=r"here\.parquet"):
        print_prices([*rows, other], Console(file=io.StringIO()), source=tmp_path / "here.parquet")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_shown_as_text(rows: list[Priced], text: str) -> None:
    made = section(hostile(rows, text))
    assert len(charts(made)) == len(PRESENT)
    assert "<script>document" not in made and "<img" not in made and "<svg" not in made
    assert "\x1b" not in made and "\u202e" not in made
    for spec in charts(made):
        assert "<img" not in json.dumps(spec) and "<script" not in json.dumps(spec)
    shown = printed(hostile(rows, text))
    assert "\x1b" not in shown and "\u202e" not in shown and "\x07" not in shown


def test_hostile_enums_are_shown_as_text(rows: list[Priced]) -> None:
    """Regime, control and condition are free text in the file, whatever writes it."""
    text = HOSTILE[1]
    some = [
        replace(
            row,
            regime=row.regime and row.regime + text,
            condition=row.condition if row.condition in ("", Condition.TRIGGERED) else row.condition + text,
        )
        for row in rows
        if row.control != Control.RANDOM
    ]
    made = section(some)
    assert "<img" not in made and "Known&lt;img" in made
    printed(some)


def test_hostile_markup_stays_markup(rows: list[Priced]) -> None:
    assert "[bold red]markup[/]" in " ".join(printed(hostile(rows, "[bold red]markup[/]"), width=300).split())


def test_records_hold_every_field(rows: list[Priced]) -> None:
    broken = replace(rows[0], value=float("nan"))
    first, second = json.loads(to_json([rows[0], broken]))
    assert tuple(first) == PRICED_FIELDS
    assert (first["method"], first["metric"], first["value"], second["value"]) == (
        "nothing",
        "asr",
        0.94,
        None,
    )


class TestInBrowser:
    pytestmark = needs_browser

    @pytest.fixture(scope="class")
    def page(self, healed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        run = RunData.read(healed)
        rows = [*priced_rows(SEEDS), *hostile(priced_rows(), HOSTILE[1])]
        found = tmp_path_factory.mktemp("page") / "page.html"
        return write_report(replace(run, priced=tuple(rows)), found)

    def test_planted_scripts_do_not_run_and_charts_are_drawn(self, page: Path, tmp_path: Path) -> None:
        document = dom(page, tmp_path / "profile")
        assert title(document) == "Poison in a miniature world · Mithridate"
        _, _, after = document.partition('<section id="priced">')
        assert after.partition("</section>")[0].count('class="main-svg"') >= 2 * len(PRESENT)

    @pytest.mark.parametrize("width", [360, 390])
    def test_no_sideways_scrolling(self, page: Path, tmp_path: Path, width: int) -> None:
        from test_report_browser import PHONE  # noqa: PLC0415

        opened = page.read_text(encoding="utf-8").replace("<details>", "<details open>")
        (tmp_path / "page.html").write_text(opened, encoding="utf-8")
        # A list of prices is a table of another kind, and must not be squeezed or cut either.
        frame = PHONE.format(width=width).replace("table.figures", "table.figures, table.prices, table.best")
        frame = frame.replace(".reason td", ".prices td > div, .best td > div").replace("0.8 * ", "0.4 * ")
        (tmp_path / "frame.html").write_text(frame)
        said = title(dom(tmp_path / "frame.html", tmp_path / "profile"))
        assert said == "0 over, 0 tables cut, 0 texts squeezed"

    def test_a_price_list_fits_a_screen(self, page: Path, tmp_path: Path) -> None:
        from test_report_browser import PHONE  # noqa: PLC0415

        (tmp_path / "page.html").write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
        frame = PHONE.format(width=1100).replace("table.figures", "table.figures, table.prices, table.best")
        (tmp_path / "frame.html").write_text(frame.replace(".reason td", ".prices .none"))
        said = title(dom(tmp_path / "frame.html", tmp_path / "profile"))
        assert said == "0 over, 0 tables cut, 0 texts squeezed"
