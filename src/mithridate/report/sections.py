"""A section of a report on an experiment beside the stages: what it says, its charts and its tables."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from mithridate.report.estimates import ENOUGH_SEEDS
from mithridate.report.look import Marked
from mithridate.report.page import Chart, inert_json
from mithridate.report.statements import Statement, statement_line
from mithridate.report.tables import Table
from mithridate.report.terminal import entry_text, plain_table

_ROOMY = 3
"""Columns that a terminal shows with their intervals; more go without."""
_HEAD = 14
"""Characters of a word of a column's head."""
_HEAD_LINE = 10
"""Characters of a line of it; more words go on below, so that rows keep room for their names."""


@dataclass(frozen=True, slots=True)
class Line(Marked):
    """One line of a chart and row of a table: a method, a prompt, a filter, as it is named and drawn."""

    label: str
    index: int


@dataclass(frozen=True, slots=True)
class Section:
    """What a page and a terminal show of one experiment.

    `short` names it in the page's contents. `words` are paragraphs; of `tables`, the first `open_tables`
    stand open, the others are folded; the terminal prints those that stand open. `legend` explains lines.
    `found` are sentences on what was found, among `words` too, for which there is no statement.
    """

    anchor: str
    title: str
    short: str
    words: tuple[str, ...]
    claims: tuple[Statement, ...]
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...]
    legend: tuple[Line, ...] = ()
    open_tables: int = 1
    whose: str = "Method"
    found: tuple[str, ...] = ()


def chart(title: str, words: str, figure: go.Figure) -> Chart:
    """A figure with its title, and what it shows in words for those who do not see it."""
    return Chart(title, words, inert_json(figure))


def section_summary(section: Section) -> RenderableType:
    """The section for a terminal. Text from data is never read as markup, and made visible."""
    parts: list[RenderableType] = [Text(), Text(section.title, style="bold")]
    parts += [statement_line(claim) for claim in section.claims]
    for table in section.tables[: section.open_tables]:
        if not table.empty:
            parts += [Text(), Text(table.caption, style="bold"), _printed(table, section.whose.lower())]
    return Group(*parts)


def seeds_in_words(seeds: Sequence[int]) -> str:
    """On how many seeds something rests, and what that is too few for."""
    count = len(set(seeds))
    if count >= ENOUGH_SEEDS:
        return f"{count} seeds"
    return f"{count} seed{'s' if count != 1 else ''}; three are needed to tell a recipe from a training"


def _printed(table: Table, whose: str) -> RichTable:
    """A group's title on a line of its own; intervals where a terminal has room for them."""
    roomy = len(table.columns) <= _ROOMY
    printed = plain_table(whose, *map(_head, table.columns), narrow=1)
    for group in table.groups:
        printed.add_row(Text(group.title, style="bold"), *[""] * len(table.columns))
        for row in group.rows:
            entries = (entry_text(entry) if roomy else Text(entry.text) for entry in row.entries)
            printed.add_row(Text(f"  {row.arm.label}"), *entries)
    return printed


def _head(column: str) -> str:
    """A column's head in lines of whole words, where they are not too long."""
    return "\n".join(line[:_HEAD] for line in textwrap.wrap(column, _HEAD_LINE, break_long_words=False))
