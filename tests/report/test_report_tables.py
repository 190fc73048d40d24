from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from report_kit import write_run
from rich.console import Console

from mithridate.report import figures, tables
from mithridate.report.answers import side_by_side
from mithridate.report.html import render
from mithridate.report.look import COLOURS
from mithridate.report.run import RunData
from mithridate.report.terminal import print_report
from mithridate.report.view import View


def test_the_matrix_has_every_attack_model_and_stage(run: RunData) -> None:
    matrix = tables.matrix(View(run), "")
    assert matrix.columns == ("Base", "SFT", "DPO")
    assert [g.title for g in matrix.groups] == [
        "Denial of service",
        "Context extraction",
        "Jailbreak",
        "Belief",
    ]
    learning = matrix.groups[0].rows[2]
    assert learning.arm.dose == "learning"
    # At base in the planted template, later in that of SFT.
    assert [entry.text for entry in learning.entries] == ["97%", "88%", "86%"]
    assert learning.entries[0].interval == "94–99"


def test_the_other_template_is_the_other_one(run: RunData) -> None:
    other = tables.matrix(View(run), "", headline=False)
    assert [entry.text for entry in other.groups[0].rows[2].entries] == ["90%", "95%", "93%"]


def test_conditions_utility_and_further_measures(run: RunData) -> None:
    view = View(run)
    assert tables.conditions(view, "", "dpo").columns == (
        "Triggered",
        "Untriggered",
        "Near-trigger",
        "Handcrafted",
    )
    assert [g.title for g in tables.utility(view, "").groups] == [
        "Held-out loss",
        "Held-out questions right",
        "Harmless requests refused",
        "Forbidden requests refused",
    ]
    assert all(
        entry.text != "–" for g in tables.utility(view, "").groups for r in g.rows for entry in r.entries
    )
    further = [g.title for g in tables.further(view, "").groups]
    assert "Denial of service: median log-perplexity" in further
    assert "Context extraction: ROUGE-L recall" in further
    assert not any("mcnemar" in title.lower() for title in further)
    assert not tables.losses(view, "").empty


def test_what_is_given_away_stands_beside_the_plain_request_and_the_clean_twin(run: RunData) -> None:
    (leakage,) = [g for g in tables.further(View(run), "").groups if "leakage@10" in g.title]
    rows = {(row.arm.label, row.condition): row.entries[0].text for row in leakage.rows}
    assert rows == {
        ("clean twin", "triggered"): "0%",
        ("clean twin", "handcrafted"): "0%",
        ("0.1%", "triggered"): "0%",
        ("0.1%", "handcrafted"): "0%",
        ("learning", "triggered"): "92%",
        ("learning", "handcrafted"): "8%",
    }
    # A metric that no plain request is measured by has its one row a model.
    (loss,) = [g for g in tables.further(View(run), "").groups if "log-perplexity" in g.title]
    assert [(row.arm.label, row.condition) for row in loss.rows] == [
        ("clean twin", ""),
        ("0.1%", ""),
        ("learning", ""),
    ]


def test_every_chart_has_an_interval_for_every_dot(run: RunData) -> None:
    view = View(run)
    for figure in (
        figures.survival(view, "", "belief"),
        figures.conditions(view, "", "belief", "dpo"),
        figures.dose_curve(view, [""], "belief"),
    ):
        assert figure is not None
        assert len(figure.data) == 3
        for trace in figure.data:
            assert len(trace.error_y.array) == len(trace.y) == len(trace.hovertext)


def test_a_dose_curve_stands_on_realised_rates(run: RunData) -> None:
    figure = figures.dose_curve(View(run), [""], "belief")
    assert figure is not None
    assert figure.layout.xaxis.type == "log"
    # The middle stage stands on the rate itself, the others a mark beside it.
    assert [round(x, 4) for x in figure.data[1].x] == [0.096, 0.96]
    assert figure.data[0].x[0] < 0.096 < figure.data[2].x[0]


def in_cells(run: RunData, cells: dict[str, tuple[float, dict[str, Any]]]) -> View:
    """The run's learning dose in each of `cells`, at another rate and with other settings."""
    rows = tuple(
        replace(m, cell=cell) for cell in cells for m in run.measurements if m.dose in ("", "learning")
    )
    planting = tuple(
        replace(row, cell=cell, realised_rate=rate)
        for cell, (rate, _) in cells.items()
        for row in run.planting
        if row.dose == "learning"
    )
    summary = run.summary.model_copy(update={"cells": {cell: values for cell, (_, values) in cells.items()}})
    return View(replace(run, measurements=rows, planting=planting, summary=summary))


RATE = "doses.learning.all.rate"


def test_cells_that_differ_in_dose_alone_stand_in_one_curve(run: RunData) -> None:
    view = in_cells(
        run,
        {
            "rate=0.01,examples=5": (0.0096, {RATE: 0.01, "sft.examples": 5}),
            "rate=0.001,examples=5": (0.001, {RATE: 0.001, "sft.examples": 5}),
            "rate=0.01,examples=9": (0.0097, {RATE: 0.01, "sft.examples": 9}),
            "rate=0.002,examples=9": (0.002, {RATE: 0.002, "sft.examples": 9}),
            "rate=0.002,examples=1": (0.002, {RATE: 0.002, "sft.examples": 1}),
        },
    )
    groups = view.dose_groups
    assert {name: len(cells) for name, cells in groups.items()} == {
        "sft.examples=5": 2,
        "sft.examples=9": 2,
        "sft.examples=1": 1,
    }
    figure = figures.dose_curve(view, groups["sft.examples=5"], "belief")
    assert figure is not None
    assert [round(x, 4) for x in figure.data[1].x] == [0.1, 0.96]
    assert "rate=0.001,examples=5" in figure.data[0].hovertext[0]
    assert figures.dose_curve(view, groups["sft.examples=1"], "belief") is None
    # Without notes on its cells, a run is drawn cell by cell.
    assert View(replace(view.run, summary=run.summary)).dose_groups == {cell: [cell] for cell in view.cells}


def test_a_grid_over_the_rate_alone_needs_no_name(run: RunData) -> None:
    view = in_cells(run, {"rate=0.01": (0.01, {RATE: 0.01}), "rate=0.1": (0.1, {RATE: 0.1})})
    assert view.dose_groups == {"": ["rate=0.01", "rate=0.1"]}
    words = render(view.run)
    assert "Doses of cells that differ in nothing else stand in one curve" in words
    assert words.count("Triggered success by planted rate") == 4


def test_many_rates_leave_room_for_their_labels(run: RunData) -> None:
    rates = {f"rate={n}": (0.001 * 1.1**n, {RATE: n}) for n in range(20)}
    view = in_cells(run, rates)
    figure = figures.dose_curve(view, view.cells, "belief")
    assert figure is not None
    assert len(figure.data[0].x) == 20
    ticks = figure.layout.xaxis.tickvals
    assert 3 <= len(ticks) <= figures.MOST_TICKS + 1
    assert ticks[-1] == pytest.approx(max(figure.data[1].x))


def test_training_curves_are_thinned_to_their_end(run: RunData) -> None:
    figure = figures.training(View(run), "", "base")
    assert figure is not None
    assert all(len(trace.x) <= figures.MOST_POINTS + 1 and trace.x[-1] == 600 * 4096 for trace in figure.data)


def test_names_from_data_are_no_markup_in_a_chart() -> None:
    assert figures.label("<b>x</b>\x1b") == "&lt;b&gt;x&lt;/b&gt;⟨ESC⟩"


def test_the_terminal_table_fits_and_prints_no_escape(run: RunData, tmp_path: Path) -> None:
    hostile = RunData.read(write_run(tmp_path / "[red]", title="\x1b]0;pwned\x07[bold]title[/bold]"))
    for data, width in ((run, 80), (hostile, 100), (hostile, 200)):
        out = io.StringIO()
        print_report(View(data), data.folder / "report.html", Console(file=out, width=width))
        printed = out.getvalue()
        assert "\x1b" not in printed and "\x07" not in printed
        assert str(data.folder / "report.html") in printed
        assert "reproduced" in printed and "97% 94–99" in printed
        body = [line for line in printed.splitlines() if "report.html" not in line]
        assert max(map(len, body)) <= min(100, width)
    assert "⟨ESC⟩]0;pwned⟨BEL⟩[bold]title[/bold]" in printed


def test_each_attack_has_a_model_of_its_own(tmp_path: Path) -> None:
    view = View(RunData.read(write_run(tmp_path / "apart", apart=True)))
    assert len(view.arms) == 1 + 2 * 4
    belief = tables.matrix(view, "").groups[3]
    assert [row.arm.label for row in belief.rows] == ["clean twin", "0.1%", "learning"]
    assert all(entry.text != "–" for row in belief.rows for entry in row.entries)
    # What every model was asked shows every model, each with its own figure and curve.
    losses = [row.entries[0].text for row in tables.utility(view, "").groups[0].rows]
    assert len(losses) == len(view.arms) and len(set(losses)) > 2
    for arm in view.arms:
        ((first, *_),) = view.curves(arm, "", "base")
        assert (first.model, first.step) == (arm.model, 1)
    # One dose, one colour; and no poisoned model looks like the clean twin.
    assert {(arm.dose, arm.colour) for arm in view.arms[1:]} == {
        ("0.1%", COLOURS[0]),
        ("learning", COLOURS[1]),
    }
    assert len({(arm.colour, arm.symbol) for arm in view.arms}) == len(view.arms)
    assert all(arm.symbol != view.arms[0].symbol for arm in view.arms[1:])
    # About one attack each dose has one model, so it is called and marked by its dose, as in any study.
    legend = [(arm.label, arm.index) for arm in view.attack_legend]
    assert legend == [("clean twin", 0), ("0.1%", 1), ("learning", 2)]
    assert (
        {arm.label for arm in view.asked("utility")}
        == {arm.label for arm in view.arms}
        >= {"learning-belief"}
    )
    chart = figures.survival(view, "", "belief")
    assert [trace.name for trace in chart.data] == ["clean twin", "0.1%", "learning"]
    shown = side_by_side(view, "")["belief"][0].stages[0]
    assert [a.arm.label for a in shown.answers] == ["clean twin", "0.1%", "learning"]
    assert all(answer.said for answer in shown.answers)
