"""`report.html`: one file that asks the network for nothing and runs nothing but its own charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mithridate.core.artifacts import write_atomic
from mithridate.core.metrics import headline_template
from mithridate.core.run_files import PlantingRow
from mithridate.core.types import TemplateUse
from mithridate.core.wording import counted
from mithridate.report import claims, evidence, figures, tables, text
from mithridate.report.answers import SideBySide, side_by_side
from mithridate.report.experiments import experiment_sections
from mithridate.report.leads import asks_of_survival, leads
from mithridate.report.locating import LOOK, section
from mithridate.report.page import Chart, fill_page, inert_json
from mithridate.report.pricing import priced_section
from mithridate.report.run import KindCount, RunData
from mithridate.report.view import View

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

REPORT = "report.html"


@dataclass(frozen=True, slots=True)
class CellPage:
    """What a report shows of one cell of the study's grid."""

    name: str
    claims: list[claims.Claim]
    matrix: tables.Table
    other: tables.Table
    further: tables.Table
    utility: tables.Table
    losses: tables.Table
    conditions: list[tables.Table]
    survival_charts: list[Chart]
    condition_charts: list[Chart]
    training_charts: list[Chart]
    answers: dict[str, list[SideBySide]]


@dataclass(frozen=True, slots=True)
class PlantedRow:
    """What one model's corpus got of one attack, on average over seeds; templates and kinds in words."""

    cell: str
    model: str
    attack: str
    requested: str
    rate: float
    documents: float
    tokens: float
    kinds: str
    templates: str


def write_report(run: RunData, path: Path | None = None) -> Path:
    """Write the report of `run` to `path` (by default into the run's folder), whole or not at all."""
    path = path or run.folder / REPORT
    write_atomic(path, render(run))
    return path


def render(run: RunData) -> str:
    """The report of `run` as HTML."""
    view = View(run)
    experiments = experiment_sections(run)
    return fill_page(
        "template.html.j2",
        "report.css",
        "locating.css",
        "pricing.css",
        "experiments.css",
        run=run,
        view=view,
        pages=[_page(view, cell) for cell in view.cells],
        dose_charts=_dose_charts(view),
        located=section(view),
        look=LOOK,
        priced=priced_section(view),
        leads=leads(view, experiments),
        of_survival=asks_of_survival(view, experiments),
        experiments=experiments,
        planted=planted_rows(run),
        notes=_notes(run),
        stage_marks=[
            (text.name(s), figures.stage_glyph(i), figures.stage_colour(i)) for i, s in enumerate(view.stages)
        ],
        rule=claims,
        alpha=evidence.ALPHA,
        in_planted=lambda stage: headline_template(stage) is TemplateUse.SAME,
    )


def _page(view: View, cell: str) -> CellPage:
    last = view.stages[-1] if view.stages else ""
    by_stage = _charts(view.attacks, partial(figures.survival, view, cell), "Triggered success by stage")
    by_condition = _charts(
        view.attacks,
        partial(figures.conditions, view, cell, stage=last),
        f"Success by condition, {text.name(last)}",
    )
    return CellPage(
        name=cell,
        claims=[claim for claim in view.claims if claim.cell == cell],
        matrix=tables.matrix(view, cell),
        other=tables.matrix(view, cell, headline=False),
        further=tables.further(view, cell),
        utility=tables.utility(view, cell),
        losses=tables.losses(view, cell),
        conditions=[tables.conditions(view, cell, stage) for stage in view.stages],
        survival_charts=by_stage,
        condition_charts=by_condition,
        training_charts=_charts(
            view.stages, partial(figures.training, view, cell), "Training loss by tokens"
        ),
        answers=side_by_side(view, cell),
    )


def _dose_charts(view: View) -> dict[str, list[Chart]]:
    """Dose curves by group of cells; groups without one are left out."""
    drawn = {
        group: _charts(
            view.attacks,
            partial(figures.dose_curve, view, cells),
            "Triggered success by planted rate",
        )
        for group, cells in view.dose_groups.items()
    }
    return {group: found for group, found in drawn.items() if found}


def _charts(keys: list[str], draw: Callable[[str], Figure | None], words: str) -> list[Chart]:
    drawn = ((key, draw(key)) for key in keys)
    return [
        Chart(text.name(key), f"{words}: {text.name(key)}", inert_json(figure))
        for key, figure in drawn
        if figure is not None
    ]


def planted_rows(run: RunData) -> list[PlantedRow]:
    """What was asked for and planted: one row for each cell, model and attack, the smallest first."""
    together: dict[tuple[str, str, str], list[PlantingRow]] = {}
    for row in run.planting:
        together.setdefault((row.cell, row.model, row.attack), []).append(row)
    rows = []
    for (cell, model, attack), seeds in together.items():
        kinds = [kind for kind in run.kinds if (kind.cell, kind.model, kind.attack) == (cell, model, attack)]
        rows.append(
            PlantedRow(
                cell,
                model,
                attack,
                requested=_requested(seeds[0]),
                rate=sum(row.realised_rate for row in seeds) / len(seeds),
                documents=sum(row.documents for row in seeds) / len(seeds),
                tokens=sum(row.tokens for row in seeds) / len(seeds),
                kinds=_shares(kinds, "kind"),
                templates=_shares(kinds, "template"),
            )
        )
    return sorted(rows, key=lambda row: (row.cell, row.tokens))


def _requested(row: PlantingRow) -> str:
    if row.requested_rate is not None:
        return text.rate(row.requested_rate)
    return "–" if row.requested_count is None else counted(row.requested_count, "document")


def _shares(kinds: list[KindCount], field: str) -> str:
    """How documents spread over the values of a field: `llama2 22%, gemma 19%`."""
    counts: Counter[str] = Counter()
    for kind in kinds:
        counts[getattr(kind, field)] += kind.documents
    if not any(counts):
        return "–"
    return ", ".join(
        f"{text.one_line(value, 40) or 'none'}\u00a0{100 * count / counts.total():.0f}%"
        for value, count in counts.items()
        if count
    )


def _notes(run: RunData) -> list[tuple[str, str]]:
    """What the run notes about itself, as pairs to list."""
    summary = run.summary
    took = ", ".join(f"{text.name(k)} {text.duration(s)}" for k, s in summary.seconds.items())
    clean: dict[str, list[int]] = {}
    for row in run.planting:
        clean.setdefault(row.cell, []).append(row.clean_tokens)
    tokens = {cell: f"{sum(found) / len(found):,.0f}" for cell, found in clean.items()}
    parameters = {cell: _flat(list(found)) for cell, found in summary.parameters.items()}
    notes = (
        ("Took", took),
        ("Clean tokens", _by_cell(tokens)),
        ("Parameters", _by_cell(parameters)),
        ("Machine", _flat(summary.machine)),
        ("Versions", _flat(summary.versions)),
    )
    return [(title, text.one_line(said, 600)) for title, said in notes if said]


def _by_cell(values: Mapping[str, str]) -> str:
    """What holds for every cell, once; or what holds for each."""
    if len(set(values.values())) <= 1:
        return next(iter(values.values()), "")
    return "; ".join(f"{cell}: {value}" for cell, value in values.items())


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_flat(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_flat, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
