"""Context against prior for a terminal: what one model says at each strength of prompting."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mithridate.core.contexts import ContextCoverage, ContextMetric, Contextual, Strength, Wording
from mithridate.core.wording import counted
from mithridate.report.contexts_words import COLUMNS, HALVES, KINDS, LEGEND, left_out_words, untried_words
from mithridate.report.tables import Entry
from mithridate.report.terminal import WIDEST, entry_text, plain_table, warning_line, wide_console
from mithridate.report.text import one_line, percent, span

_HEAD_LINE = 10
"""Characters of a line of a column's head."""
_NAME = 14
"""Characters of the longest word that stands in the first column (“representation”)."""
_Column = tuple[str, ContextMetric, Wording]


def print_contexts(
    figures: Sequence[Contextual], coverage: Sequence[ContextCoverage], *, console: Console | None = None
) -> None:
    """Print how many facts are known, and what is said where a context contradicts them.

    `coverage` is of the model as it is, then of each intervention.
    """
    console = console or wide_console()
    width = min(WIDEST, console.width)
    as_it_is = coverage[0]
    said = (
        f"{as_it_is.known:,} of {as_it_is.facts:,} facts are given right without a context; these are "
        "contradicted."
    )
    console.print(Text(said), width=width)
    # As on the page: where somebody counted, the facts that were stated most often.
    most = max((one.exposure for one in figures), default=0)
    told = f"; facts stated {most:,} times" if most else ""
    for conflict, words in KINDS.items():
        rows = [one for one in figures if one.conflict is conflict and _is_told(one, most)]
        if rows:
            console.print(Text())
            console.print(Text(f"{words[:1].upper()}{words[1:]}{told}", style="bold"), width=width)
            for table in _tables(rows, width):
                console.print(table, width=width)
            console.print(Text(_read(rows, as_it_is)), width=width)
    tried = any(one.intervention for one in figures)
    console.print(Text(f"{LEGEND} {HALVES}" if tried else LEGEND, style="dim"), width=width)
    if left_out := sum(one.left_out for one in coverage):
        console.print(warning_line(left_out_words(left_out)))
    for words in untried_words(coverage):
        console.print(warning_line(words))


def _is_told(one: Contextual, most: int) -> bool:
    return one.metric is ContextMetric.READ or one.exposure == most


def _read(rows: Sequence[Contextual], as_it_is: ContextCoverage) -> str:
    """Whether the model reads contexts at all, which facts that it does not know tell."""
    read = [one for one in rows if one.metric is ContextMetric.READ and one.wording is Wording.ASKED]
    best = max(read, key=lambda one: one.value, default=None)
    if best is None:
        why = (
            f"No prompt about the {counted(as_it_is.unknown, 'fact')} of which it knows neither answer fits "
            "its context window"
            if as_it_is.unknown
            else "It gives one of both answers to every fact that it was asked of"
        )
        return f"{why}, so nothing tells whether it reads contexts at all."
    ends = span(best.low, best.high)
    return (
        f"Of {counted(best.n, 'fact')} of which it knows neither answer, {percent(best.value)}"
        f"{f' ({ends})' if ends else ''} are answered from the context at the best prompt ({best.strength})."
    )


def _tables(rows: Sequence[Contextual], width: int) -> list[RichTable]:
    """One table where `width` has room for it beside whole words in the first column; else two.

    The second holds what is not read from replies: which of both answers is the likelier one.
    """
    shown = [column for column in COLUMNS if any((one.metric, one.wording) == column[1:] for one in rows)]
    if _NAME + sum(2 + _needed(rows, *column) for column in shown) <= width:
        return [_table(rows, shown)]
    likelier = [column for column in shown if column[1] is ContextMetric.EFFICACY]
    replied = [column for column in shown if column not in likelier]
    return [_table(rows, columns) for columns in (replied, likelier) if columns]


def _needed(rows: Sequence[Contextual], head: str, metric: ContextMetric, wording: Wording) -> int:
    """Characters that a column takes."""
    found = [entry_text(_entry(one)) for one in rows if (one.metric, one.wording) == (metric, wording)]
    return max(*map(len, _folded(head).split("\n")), *(len(text) for text in found), 1)


def _table(rows: Sequence[Contextual], shown: Sequence[_Column]) -> RichTable:
    """A line a strength of the model as it is, then of each intervention and what stands in its place."""
    table = plain_table("prompt", *(_folded(head) for head, _, _ in shown), narrow=1)
    means: dict[tuple[str, str, str], dict[Strength, list[Contextual]]] = {}
    for one in rows:
        whose = means.setdefault((one.intervention, one.variant, one.control), {})
        whose.setdefault(one.strength, []).append(one)
    for (intervention, variant, control), strengths in means.items():
        if intervention:
            named = f"{intervention} ({variant}), {control or 'as chosen'}"
            table.add_row(Text(one_line(named, 80), style="bold"), *[""] * len(shown))
        for strength, of in strengths.items():
            found = {(one.metric, one.wording): one for one in of}
            entries = [_entry(found.get((metric, wording))) for _, metric, wording in shown]
            table.add_row(Text(strength.value), *map(entry_text, entries))
    return table


def _folded(head: str) -> str:
    """A column's head in lines of whole words: the rows need the room for their names."""
    return "\n".join(textwrap.wrap(head, _HEAD_LINE, break_long_words=False))


def _entry(one: Contextual | None) -> Entry:
    if one is None:
        return Entry("–")
    ends = span(one.low, one.high) if one.metric is ContextMetric.SUBSTITUTE else ""
    return Entry(percent(one.value), ends)
