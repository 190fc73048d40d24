"""What a tuning chose and out of what, for a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from mithridate.core.wording import counted
from mithridate.report.folded import FoldedName
from mithridate.report.guard_tables import count, loss, megabytes, milliseconds, ndcg, share
from mithridate.report.guard_view import points
from mithridate.report.terminal import WIDEST, entry_text, plain_table, warning_line, wide_console
from mithridate.report.text import one_line
from mithridate.retrieval.measuring.records import NDCG_DEPTH, PLAIN
from mithridate.retrieval.measuring.tune import TuneResult


def print_tuning(result: TuneResult, path: Path, console: Console | None = None) -> None:
    """Print the settings that were tried, the one to take, and where all figures lie."""
    console = console or wide_console()
    console.print(tuning_summary(result), width=min(WIDEST, console.width))
    console.print(Text(f"figures: {one_line(str(path), 4096)}"), soft_wrap=True)


def tuning_summary(result: TuneResult) -> RenderableType:
    """Everything but the path."""
    tuning, held_out = result.tuning.settings, result.held_out.settings
    warnings = dict.fromkeys([*result.tuning.warnings, *result.held_out.warnings])
    return Group(
        Text(f"Tried on {counted(tuning.queries, 'question')} (95% interval)", style="bold"),
        _candidates(result),
        Text(),
        Text(f"On {counted(held_out.queries, 'other question')}", style="bold"),
        _outcomes(result),
        Text(),
        Text.assemble("take ", (one_line(result.chosen), "bold"), f": {_why(result)}"),
        *map(warning_line, warnings),
    )


def _candidates(result: TuneResult) -> RichTable:
    heads = (f"ASR@{result.k}", "loss in points", "encoded", "median", "index", "budget")
    table = plain_table("setting", *heads, narrow=1)
    for one in result.candidates:
        table.add_row(
            FoldedName(one_line(one.defense), style="bold" if one.defense == result.chosen else ""),
            entry_text(share(one.asr)),
            entry_text(loss(one.ndcg_loss)),
            Text(count(one.cost.encodings)),
            Text(f"{milliseconds(one.cost.ms_median)} ms"),
            Text(megabytes(one.cost.index_bytes)),
            Text("in" if one.within_budget else "over"),
        )
    return table


def _outcomes(result: TuneResult) -> RichTable:
    table = plain_table("setting", f"ASR@{result.k}", f"nDCG@{NDCG_DEPTH}", "loss in points", narrow=1)
    for one in result.outcomes:
        table.add_row(
            FoldedName(one_line(one.defense)),
            entry_text(share(one.asr)),
            entry_text(ndcg(one.ndcg)),
            entry_text(loss(one.ndcg_loss)),
        )
    return table


def _why(result: TuneResult) -> str:
    allowed = f"{points(result.budget)} points of nDCG@{NDCG_DEPTH}"
    if result.chosen == PLAIN:
        return f"nothing that was tried lets clearly less poison through at the cost of {allowed} or less"
    said = f"the cheapest of those that let least poison through at the cost of {allowed} or less"
    lost = result.outcomes[-1].ndcg_loss.value
    if lost > result.budget:
        said += f"; on the other questions it cost {points(lost)}, more than the budget"
    return said
