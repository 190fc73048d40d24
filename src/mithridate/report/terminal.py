"""The same figures for a terminal, within 80 columns where the study has a handful of doses."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from mithridate.core.cures import Verdict
from mithridate.report import tables
from mithridate.report.claims import Claim, Finding
from mithridate.report.text import name, one_line, p_value, percent, span
from mithridate.report.view import View

WIDEST = 100
_LONGEST_WARNING = 1000
CURE_STYLES = {
    Verdict.CURED: "green",
    Verdict.COSTLY: "yellow",
    Verdict.UNSUPPORTED: "yellow",
    Verdict.WEAKENED: "yellow",
    Verdict.KEPT: "red",
    Verdict.ABSENT: "dim",
}
"""How verdicts on cures look."""
_STYLES = {"reproduced": "green", "not reproduced": "red", "inconclusive": "yellow"}


def print_report(
    view: View,
    path: Path,
    console: Console | None = None,
    more: RenderableType | None = None,
    opening: Sequence[str] | None = None,
) -> None:
    """Print the `opening` (by default what survives), the matrix, the claims, `more`, and the page's path."""
    console = console or Console()
    for part in (summary(view, view.headlines if opening is None else opening), more):
        if part is not None:
            console.print(part, width=min(WIDEST, console.width))
    # Not wrapped and not cut: a path is there to be copied.
    console.print(Text(f"report: {one_line(str(path), 4096)}"), soft_wrap=True)


def summary(view: View, opening: Sequence[str]) -> RenderableType:
    """Everything but the path. Text from data is never read as markup, and made visible."""
    parts: list[RenderableType] = [Text(one_line(view.run.title), style="bold"), Text()]
    for sentence in opening:
        parts.append(Text(sentence))
    for cell in view.cells:
        heading = f"Triggered success{f', cell {one_line(cell)}' if cell else ''} (95% interval)"
        parts += [Text(), Text(heading, style="bold"), _matrix(tables.matrix(view, cell))]
        found = [claim for claim in view.claims if claim.cell == cell]
        # Of a study that trains no further, the table would say nothing in as many lines as it has attacks.
        if any(claim.finding is not Finding.NOT_TESTED for claim in found) or opening == view.headlines:
            parts += [Text(), Text("Does it survive SFT and DPO?", style="bold"), _claims(found)]
    return Group(*parts)


def wide_console() -> Console:
    """Standard output, with room for a whole table where it is no terminal: rich would assume 80 columns."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=WIDEST)


def plain_table(*columns: str, narrow: int) -> RichTable:
    """A table without lines; the first `narrow` columns give way where the terminal is too narrow."""
    table = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for i, column in enumerate(columns):
        table.add_column(Text(column), no_wrap=i >= narrow, overflow="fold")
    return table


def entry_text(entry: tables.Entry) -> Text:
    """A figure and, fainter, its interval."""
    return Text.assemble((entry.text, "bold"), (f" {entry.interval}" if entry.interval else "", "dim"))


def warning_line(warning: str) -> Text:
    """A warning, which may quote a corpus, as one inert line."""
    return Text.assemble(("warning: ", "yellow"), one_line(warning, _LONGEST_WARNING))


def _matrix(matrix: tables.Table) -> RichTable:
    table = plain_table("attack", "model", *matrix.columns, narrow=2)
    for group in matrix.groups:
        for i, row in enumerate(group.rows):
            entries = map(entry_text, row.entries)
            table.add_row(Text(group.title if i == 0 else ""), Text(row.arm.label), *entries)
    return table


def _claims(found: list[Claim]) -> RichTable:
    table = plain_table("attack", "dose", "excess", "p", "paper", "ours", "verdict", narrow=2)
    for claim in found:
        final = claim.final
        excess = f"{percent(final.excess)} {span(final.low, final.high)}" if final else "–"
        paper = {True: "survives", False: "gone", None: "–"}[claim.survives_in_paper]
        table.add_row(
            Text(name(claim.attack)),
            Text(one_line(claim.dose, 40)),
            Text(excess),
            Text(p_value(claim.p)),
            Text(paper),
            Text(claim.finding.value),
            Text(claim.verdict.value, style=_STYLES.get(claim.verdict.value, "")),
        )
    return table
