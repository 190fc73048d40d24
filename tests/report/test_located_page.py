from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from located_kit import BLOCKS, LAYERS, MODEL, PEAKS, hostile, located_rows, row
from page_kit import Reader
from report_kit import HOSTILE, write_run
from rich.console import Console

from browser_kit import dom, needs_browser, title
from mithridate.core.located import LOCALIZATION, Direction, Experiment, Located, Metric, Pair
from mithridate.core.tables import write_rows
from mithridate.report import locating_figures as figures
from mithridate.report import locating_tables as tables
from mithridate.report.html import render, write_report
from mithridate.report.located import LocatedView, Subject
from mithridate.report.locating_summary import summary
from mithridate.report.locating_terminal import print_located
from mithridate.report.locations import locations
from mithridate.report.records import LOCATED_FIELDS, to_json
from mithridate.report.run import RunData, read_measurements

SUBJECT = Subject("", MODEL, MODEL)
SEEDS = (0, 1, 2, 3, 4)


@pytest.fixture(scope="module")
def rows() -> list[Located]:
    return located_rows(without=("belief",))


@pytest.fixture(scope="module")
def view(rows: list[Located]) -> LocatedView:
    return LocatedView(tuple(rows), tuple(PEAKS))


@pytest.fixture(scope="module")
def looked_into(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of five seeds with everything in it."""
    folder = write_run(tmp_path_factory.mktemp("located") / "run", seeds=SEEDS)
    write_rows(folder / LOCALIZATION, Located, located_rows(SEEDS))
    return folder


def charts(page: str) -> list[dict[str, Any]]:
    return [json.loads(text) for kind, text in Reader(page).scripts if kind == "application/json"]


def printed(rows: Sequence[Located], folder: Path | None = None, width: int = 100) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=False)
    print_located(rows, console, read_measurements(folder) if folder else (), order=tuple(PEAKS))
    return out.getvalue()


def test_a_run_that_nobody_looked_into_has_no_such_section(run: RunData) -> None:
    assert run.located == ()
    page = render(run)
    assert "Where it lives" not in page and 'id="located"' not in page


def test_a_run_that_was_looked_into_shows_it(looked_into: Path) -> None:
    run = RunData.read(looked_into)
    assert len(run.located) == len(located_rows(SEEDS))
    page = render(run)
    words = " ".join(Reader(page).words.split())
    assert '<a href="#located">Where it lives</a>' in page
    assert "What survives lies where alignment does not reach" in words
    assert page.count('class="verdict inconclusive"') >= 2
    # Three decimals of rho and p follow from the rows; that they are said at all is what matters here.
    assert re.search(r"Spearman's rho −0\.\d\d over 4 attacks and 5 seeds \(20 points\)", words)
    for heading in ("Layer by layer", "Layers together", "What moved", "In the prompt", "What can be read"):
        assert heading in words
    assert len(charts(page)) > len(charts(render(replace(run, located=())))) + 40


def test_the_summary_says_where_each_behaviour_lies(view: LocatedView) -> None:
    groups = summary(view, SUBJECT, locations(view))
    assert [group.title for group in groups] == ["Planted, in the base model", "Taught by alignment"]
    planted, taught = ({row.title: row for row in group.rows} for group in groups)
    assert list(planted) == ["Denial of service", "Context extraction", "Jailbreak", "Belief"]
    jailbreak = planted["Jailbreak"]
    assert jailbreak.lies.layers[0].name == "5"
    assert jailbreak.lies.effect == "90%"
    assert jailbreak.against is not None
    assert float(jailbreak.against.overlap) > 0.6 and jailbreak.against.kept == "–"
    embeddings, lower, upper = (float(part.rstrip("%")) for part in planted["Denial of service"].lies.parts)
    assert embeddings + lower > 90 > upper
    assert taught["Chat format"].lies.layers[0].name == "head"
    assert [row.title for row in groups[0].untraced] == ["Belief"]
    assert not groups[1].untraced


def test_seeds_without_an_effect_are_told() -> None:
    """The effect is over all seeds, what follows over those in which there was one to trace."""
    some = [*located_rows((0, 1)), *located_rows((2,), without=("belief",))]
    view = LocatedView(tuple(some), tuple(PEAKS))
    planted = {row.title: row for row in summary(view, SUBJECT, locations(view))[0].rows}
    assert (planted["Belief"].lies.seeds, planted["Jailbreak"].lies.seeds) == ("2 of 3", "")
    assert planted["Belief"].lies.effect == "60%"
    assert re.search(r"Belief +60% 2 of 3 ", printed(some))


def test_what_alignment_took_away_is_a_group_of_its_own(rows: list[Located]) -> None:
    taken = [
        replace(one, pair=Pair.ALIGNMENT, stage="dpo")
        for one in rows
        if (one.behaviour, one.pair, one.experiment) == ("jailbreak", Pair.POISON, Experiment.TRANSPLANT)
    ]
    view = LocatedView((*rows, *taken), tuple(PEAKS))
    groups = summary(view, SUBJECT, locations(view))
    assert [row.title for row in groups[2].rows] == ["Jailbreak"]
    assert groups[2].rows[0].against is None
    # And the attack's own profile is from the twins alone.
    assert len(locations(view)) == 4
    assert locations(view)[2].overlap == locations(LocatedView(tuple(rows), tuple(PEAKS)))[2].overlap


def test_what_cannot_be_traced_is_said_in_words(run: RunData, rows: list[Located]) -> None:
    nothing = [
        row(
            Experiment.PATCHING, Metric.EFFECT, 0.1, 0.4, pair=Pair.PROMPTS, behaviour="belief",
        ),
        row(
            Experiment.PATCHING, Metric.EFFECT, 0.0, 0, pair=Pair.POISON, behaviour="belief", n=0,
        ),
    ]  # fmt: skip
    words = " ".join(Reader(render(replace(run, located=(*rows, *nothing)))).words.split())
    told = "nothing to trace of belief (effect 1.0%, −7 to 9). The two models differ too little"
    assert f"Planted, in the base model: {told}" in words
    assert "Nothing to trace: the prompts differ by 0.10 nats (−0.30 to 0.50)" in words
    assert "Nothing to trace: no pair of prompts shows the attack" in words
    assert "Nothing to trace, for want of an effect: belief (1.0%)." in printed(rows)


@pytest.mark.parametrize("kept", list(Experiment))
def test_any_experiment_alone_makes_a_page(run: RunData, rows: list[Located], kept: Experiment) -> None:
    page = render(replace(run, located=tuple(one for one in rows if one.experiment is kept)))
    assert "Where it lives" in Reader(page).words
    assert len(charts(page)) > len(charts(render(run)))


@pytest.mark.parametrize("lost", list(Metric))
def test_any_metric_may_be_missing(run: RunData, rows: list[Located], lost: Metric) -> None:
    left = [one for one in rows if one.metric is not lost]
    assert "Where it lives" in Reader(render(replace(run, located=tuple(left)))).words
    printed(left)


def test_charts_without_rows_are_left_out(view: LocatedView) -> None:
    assert figures.profile_pair(view, SUBJECT, "belief", Direction.IN) is None
    assert figures.whole_sets(view, SUBJECT, Pair.POISON, "belief") is None
    assert figures.patching_map(view, SUBJECT, Pair.POISON, "jailbreak", "mlp") is None
    assert figures.weight_map(view, SUBJECT, Pair.POISON) is None
    assert figures.token_shares(view, SUBJECT, "own") is None
    assert figures.divergence(view, SUBJECT, "own") is None
    assert figures.lens(view, SUBJECT, "belief") is None
    assert figures.probe(view, SUBJECT, "belief") is None


def test_a_profile_stands_against_alignment_and_controls(view: LocatedView) -> None:
    figure = figures.profile_pair(view, SUBJECT, "jailbreak", Direction.IN)
    assert figure is not None
    by_name = {trace.name: trace for trace in figure.data}
    assert set(by_name) == {"Jailbreak", "alignment", "random change", "wrong layer"}
    attack = by_name["Jailbreak"]
    assert len(attack.x) == len(LAYERS)
    assert attack.y[6] == max(attack.y) == pytest.approx(50, abs=5)
    assert attack.error_y.array[6] == pytest.approx(8)
    assert list(figure.layout.xaxis.ticktext) == ["emb.", *map(str, range(BLOCKS)), "head"]


def test_prefixes_stand_at_their_last_layer_and_suffixes_at_their_first(view: LocatedView) -> None:
    figure = figures.whole_sets(view, SUBJECT, Pair.POISON, "jailbreak")
    assert figure is not None
    prefix, suffix = figure.data
    assert list(prefix.x) == list(suffix.x) == list(range(BLOCKS))
    # The jailbreak lies high: what goes up to its block brings it, what begins beyond it does not.
    assert prefix.y[-1] > 60 > prefix.y[0] and suffix.y[0] > 90


def test_maps_say_their_figures(view: LocatedView) -> None:
    weights = figures.weight_map(view, SUBJECT, Pair.ALIGNMENT)
    assert weights is not None
    (map_,) = weights.data
    assert list(weights.layout.yaxis.ticktext) == ["Embedding", "Attention", "MLP", "Norm"]
    assert map_.text[2][6] == "4" and map_.text[0][6] == ""
    patched = figures.patching_map(view, SUBJECT, Pair.PROMPTS, "jailbreak", "residual")
    assert patched is not None
    assert patched.layout.xaxis.ticktext[-1] == "all"
    # From the last block down, so that the page's upper rows are the network's.
    assert patched.layout.yaxis.ticktext[0] == str(BLOCKS - 1)
    assert patched.data[0].text[0][-1] == "90" and patched.data[0].text[0][0] == "0"
    modules = ("residual", "block", "attention", "mlp")
    whole = figures.patching_of_all(view, SUBJECT, Pair.PROMPTS, "jailbreak", modules)
    assert whole is not None
    assert list(whole.layout.xaxis.ticktext) == ["Residual", "Block", "Attention", "MLP"]
    assert whole.data[0].text[0][0] == "90" and whole.data[0].text[0][1] == "30"


def test_seeds_are_averaged_with_intervals_over_them() -> None:
    many = LocatedView(tuple(located_rows(SEEDS)), tuple(PEAKS))
    table = tables.singles(many, SUBJECT)
    entry = table.groups[2].rows[6].entries[0]
    assert entry.note == "n = 200 over 5 seeds"
    low, _, high = entry.interval.partition("–")
    assert int(high) - int(low) < 8, "over seeds that differ by 3 points, not over items"


def test_tables_hold_the_numbers_of_the_charts(view: LocatedView) -> None:
    singles = tables.singles(view, SUBJECT)
    assert [group.title for group in singles.groups] == [
        "Denial of service", "Context extraction", "Jailbreak", "Refusal", "Chat format", "Helpfulness",
    ]  # fmt: skip
    assert [row.arm.label for row in singles.groups[0].rows] == ["embeddings", *map(str, range(6)), "head"]
    controls = tables.controls(view, SUBJECT).groups[0].rows[0]
    # Of the embeddings: a random change both ways, a second clean seed in; no block can stand in for them.
    assert ["–" in entry.text for entry in controls.entries[1:]] == [False, True, True]
    sets = tables.sets(view, SUBJECT).groups[0].rows
    assert {row.condition for row in sets} == {"prefix", "suffix"}
    weights = tables.weights(view, SUBJECT, Pair.ALIGNMENT)
    assert [group.title for group in weights.groups] == ["Embedding", "Attention", "MLP", "Norm"]
    assert [entry.text for entry in weights.groups[2].rows[5].entries] == ["4%", "97%"]
    tokens = tables.tokens(view, SUBJECT, "shared").groups[0].rows
    assert len(tokens) == 24 and tokens[0].entries[3].text == "2.00"
    reading = tables.reading(view, SUBJECT).groups[2].rows
    assert [entry.text for entry in reading[-1].entries] == ["4.50", "−1.50", "95%", "90%", "55%"]


def test_the_terminal_table_fits(looked_into: Path, rows: list[Located]) -> None:
    for width in (80, 100):
        text = printed(located_rows(SEEDS), looked_into, width)
        assert max(map(len, text.splitlines())) <= width
        assert "Denial of service" in text and "inconclusive: What survives lies" in text
    alone = printed(rows)
    assert "survives" in alone and "\x1b" not in alone
    assert "not tested: What survives lies where alignment does not reach" in alone
    assert printed([]) == ""


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_are_shown_as_text(run: RunData, rows: list[Located], text: str) -> None:
    page = render(replace(run, located=tuple(hostile(rows, text))))
    _, _, after = page.partition('<section id="located">')
    section = after.partition("</section>")[0]
    assert len(charts(section)) > 30
    assert "<script>document" not in section and "<img" not in section and "<svg" not in section
    assert "\x1b" not in section and "\u202e" not in section
    for spec in charts(section):
        assert "<img" not in json.dumps(spec) and "<script" not in json.dumps(spec)
    shown = printed(hostile(rows, text))
    assert "\x1b" not in shown and "\u202e" not in shown and "\x07" not in shown


def test_hostile_markup_stays_markup(rows: list[Located]) -> None:
    assert "[bold red]markup[/]" in " ".join(printed(hostile(rows, "[bold red]markup[/]"), width=200).split())


def test_records_hold_every_field(rows: list[Located]) -> None:
    broken = replace(rows[0], value=float("nan"))
    first, second = json.loads(to_json([rows[2], broken]))
    assert tuple(first) == LOCATED_FIELDS
    assert (first["experiment"], first["pair"], first["metric"]) == ("transplant", "poison", "effect")
    assert (first["value"], first["layer"], second["value"]) == (0.9, None, None)


class TestInBrowser:
    pytestmark = needs_browser

    @pytest.fixture(scope="class")
    def page(self, looked_into: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        run = RunData.read(looked_into)
        rows = [*located_rows(SEEDS), *hostile(located_rows(), HOSTILE[1])]
        found = tmp_path_factory.mktemp("page") / "page.html"
        return write_report(replace(run, located=tuple(rows)), found)

    def test_planted_scripts_do_not_run_and_charts_are_drawn(self, page: Path, tmp_path: Path) -> None:
        document = dom(page, tmp_path / "profile")
        assert title(document) == "Poison in a miniature world · Mithridate"
        assert document.count("heatmap-label") > 100
        assert document.count('class="main-svg"') > 100

    @pytest.mark.parametrize("width", [360, 390])
    def test_no_sideways_scrolling(self, page: Path, tmp_path: Path, width: int) -> None:
        from test_report_browser import PHONE  # noqa: PLC0415

        opened = page.read_text(encoding="utf-8").replace("<details>", "<details open>")
        (tmp_path / "page.html").write_text(opened, encoding="utf-8")
        (tmp_path / "frame.html").write_text(PHONE.format(width=width))
        said = title(dom(tmp_path / "frame.html", tmp_path / "profile"))
        assert said == "0 over, 0 tables cut, 0 texts squeezed"
