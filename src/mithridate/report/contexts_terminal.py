"""Context against prior for a terminal: what one model says at each strength of prompting."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mithridate.core.contexts import Conflict, ContextMetric, Contextual, Strength, Wording
from mithridate.report.tables import Entry
from mithridate.report.terminal import WIDEST, entry_text, plain_table, warning_line, wide_console
from mithridate.report.text import one_line, percent, span

_COLUMNS = (
    ("the text", ContextMetric.SUBSTITUTE, Wording.ASKED),
    ("paraphrased", ContextMetric.SUBSTITUTE, Wording.PARAPHRASE),
    ("the weights", ContextMetric.ORIGINAL, Wording.ASKED),
    ("ratio", ContextMetric.MEMORIZATION_RATIO, Wording.ASKED),
    ("likelier", ContextMetric.EFFICACY, Wording.ASKED),
    ("pair", ContextMetric.PAIR_ACCURACY, Wording.ASKED),
)
_CONFLICTS = (
    (Conflict.SUBSTITUTED, "A sentence says otherwise"),
    (Conflict.COHERENT, "A passage says otherwise"),
)
_LEGEND = (
    "the text: replies that give the answer of the text, with the 95% interval; paraphrased: the same in "
    "another wording; the weights: replies that give the model's own; ratio: own / (own + text's); likelier: "
    "the text's answer is the likelier one; pair: right from the text where that is asked for and by heart "
    "where that is. All columns but paraphrased are asked in the fact's own wording"
)


def print_contexts(
    figures: Sequence[Contextual],
    *,
    facts: int,
    known: int,
    left_out: int = 0,
    skipped: Sequence[tuple[str, str]] = (),
    console: Console | None = None,
) -> None:
    """Print how many facts are known, and what is said where a text contradicts them."""
    console = console or wide_console()
    width = min(WIDEST, console.width)
    said = f"{known:,} of {facts:,} facts are given right without a text; these are contradicted."
    console.print(Text(said), width=width)
    for conflict, words in _CONFLICTS:
        rows = [one for one in figures if one.conflict is conflict]
        if rows:
            console.print(Text())
            console.print(Text(words, style="bold"))
            console.print(_table(rows), width=width)
            console.print(Text(_read(rows)), width=width)
    console.print(Text(_LEGEND, style="dim"), width=width)
    if left_out:
        said = f"{left_out:,} prompts did not fit the model's context window and were left out"
        console.print(warning_line(said))
    for name, reason in skipped:
        console.print(warning_line(f"{name} was not tried: {reason}"))


def _read(rows: Sequence[Contextual]) -> str:
    """Whether the model reads texts at all, which facts that it does not know tell."""
    read = [one for one in rows if one.metric is ContextMetric.READ and one.wording is Wording.ASKED]
    best = max(read, key=lambda one: one.value, default=None)
    if best is None:
        return "It knows something of every fact, so nothing tells whether it reads texts at all."
    ends = span(best.low, best.high)
    return (
        f"Of {best.n:,} facts of which it knows neither answer, {percent(best.value)}"
        f"{f' ({ends})' if ends else ''} are answered from the text at the best prompt ({best.strength})."
    )


def _table(rows: Sequence[Contextual]) -> RichTable:
    shown = [column for column in _COLUMNS if any(one.metric is column[1] for one in rows)]
    table = plain_table("prompt", *(head for head, _, _ in shown), narrow=1)
    for prompt, of in _lines(rows):
        found = {(one.metric, one.wording): one for one in of}
        entries = [_entry(found.get((metric, wording))) for _, metric, wording in shown]
        table.add_row(prompt, *map(entry_text, entries))
    return table


def _lines(rows: Sequence[Contextual]) -> list[tuple[Text, list[Contextual]]]:
    """A line a strength of the model as it is, then one for each intervention, control and strength."""
    groups: dict[tuple[str, str, str, Strength], list[Contextual]] = {}
    for one in rows:
        groups.setdefault((one.intervention, one.variant, one.control, one.strength), []).append(one)
    found = []
    for (intervention, variant, control, strength), of in groups.items():
        what = f"{intervention} ({variant}), {control or 'chosen'}: " if intervention else ""
        found.append((Text(one_line(f"{what}{strength.value}", 80)), of))
    return found


def _entry(one: Contextual | None) -> Entry:
    if one is None:
        return Entry("–")
    ends = span(one.low, one.high) if one.metric is ContextMetric.SUBSTITUTE else ""
    return Entry(percent(one.value), ends)
