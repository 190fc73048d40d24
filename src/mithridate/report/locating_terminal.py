"""Where behaviours live, for a terminal: one table a model, and the verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.text import Text

from mithridate.core.located import LOCALIZATION, Located
from mithridate.core.types import Measurement
from mithridate.report.located import LocatedView, Subject
from mithridate.report.locating_claims import located_claims, shown_claims
from mithridate.report.locating_summary import Summary, SummaryGroup, summary
from mithridate.report.locations import locations
from mithridate.report.statements import statement_line
from mithridate.report.terminal import WIDEST, plain_table
from mithridate.report.text import one_line


def print_located(
    rows: Iterable[Located],
    console: Console,
    measurements: Iterable[Measurement] = (),
    *,
    order: Sequence[str] = (),
    source: Path = Path(LOCALIZATION),
) -> None:
    """Print where each behaviour lies, its overlap with alignment, and the verdicts; nothing for no rows.

    Without the `measurements` of a run, no survival is known. `order` names attacks in the order of the
    study. Raises DataError, naming `source`, where rows contradict each other.
    """
    view = LocatedView(tuple(rows), tuple(order), source)
    if view.rows:
        console.print(located_summary(view, measurements), width=min(WIDEST, console.width))


def located_summary(view: LocatedView, measurements: Iterable[Measurement] = ()) -> RenderableType:
    """Everything as it is printed. Text from data is never read as markup, and made visible."""
    found = locations(view, measurements)
    parts: list[RenderableType] = []
    for subject in view.subjects:
        if groups := summary(view, subject, found):
            parts += [Text(), Text(_heading(subject), style="bold"), *_tables(groups)]
    if claims := shown_claims(located_claims(view, found)):
        parts += [Text(), Text("What this says", style="bold"), *map(statement_line, claims)]
    return Group(*parts)


_LEGEND = (
    "in/out: share of the effect that comes along with a layer, or goes with it, beyond a random change of "
    "the same size; emb/low/up: where that lies, in percent"
)


def _heading(subject: Subject) -> str:
    about = ", ".join(one_line(part, 40) for part in dict.fromkeys(subject) if part)
    return f"Where it lives{f': {about}' if about else ''}"


def _tables(groups: Sequence[SummaryGroup]) -> list[RenderableType]:
    made: list[RenderableType] = []
    for group in groups:
        made += [Text(), Text(group.title, style="dim")] if made else [Text(group.title, style="dim")]
        compared = any(row.against for row in group.traced)
        heads = ["behaviour", "effect", "most (in/out)", "emb/low/up"]
        heads += ["overlap", "survives"] if compared else []
        table = plain_table(*heads, narrow=1)
        for row in group.traced:
            table.add_row(Text(row.title), *_cells(row, compared))
        made += [table] if group.traced else []
        if nothing := [f"{row.title.lower()} ({row.lies.effect})" for row in group.untraced]:
            made.append(Text(f"Nothing to trace, for want of an effect: {', '.join(nothing)}.", style="dim"))
    if any(group.traced for group in groups):
        made.append(Text(_LEGEND, style="dim"))
    return made


def _cells(row: Summary, compared: bool) -> list[Text]:
    lies = row.lies
    best = lies.layers[0] if lies.layers else None
    cells = [
        Text.assemble((lies.effect, "bold"), (f" {lies.seeds}" if lies.seeds else "", "dim")),
        Text(f"{_short(best.name)} {best.inward}/{best.outward}" if best else "no single layer"),
        Text("/".join(part.removesuffix("%") for part in lies.parts) or "–"),
    ]
    if compared and row.against:
        told = row.against.interval or (f"p {row.against.chance}" if row.against.chance else "")
        overlap = Text.assemble((row.against.overlap, "bold"), (f" {told}" if told else "", "dim"))
        cells += [overlap, Text(row.against.kept)]
    return cells


def _short(layer: str) -> str:
    return "emb." if layer == "embeddings" else layer
