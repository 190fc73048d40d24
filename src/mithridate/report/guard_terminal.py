"""The figures of a benchmark of defences for a terminal, within 100 columns."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from mithridate.core.wording import counted
from mithridate.report import guard_tables
from mithridate.report.folded import FoldedName
from mithridate.report.guard_view import Assault, GuardView
from mithridate.report.terminal import WIDEST, entry_text, plain_table, warning_line, wide_console
from mithridate.report.text import one_line
from mithridate.retrieval.measuring.records import NDCG_DEPTH, Figure

_MOST_KS = 3
"""Numbers of hits that have a column; the page has them all."""


def print_benchmark(view: GuardView, path: Path, console: Console | None = None) -> None:
    """Print the tables, the warnings and where the page lies."""
    console = console or wide_console()
    console.print(guard_summary(view), width=min(WIDEST, console.width))
    # Not wrapped and not cut: a path is there to be copied.
    console.print(Text(f"report: {one_line(str(path), 4096)}"), soft_wrap=True)


def guard_summary(view: GuardView) -> RenderableType:
    """Everything but the path. Text from data is never read as markup, and made visible."""
    settings = view.result.settings
    parts: list[RenderableType] = [
        Text(
            f"{one_line(settings.corpus)}: {counted(settings.documents, 'document')}, "
            f"{counted(settings.queries, 'question')}",
            style="bold",
        ),
        Text(),
        *(Text(sentence) for sentence in view.headlines),
    ]
    for one in view.assaults:
        parts += [Text(), Text(f"Under {one.label} a question (95% interval)", style="bold")]
        parts.append(_under_attack(view, one))
    parts += [Text(), Text("On the clean corpus (95% interval)", style="bold"), _clean(view)]
    parts.append(Text(_dropped(view.quoted_k), style="dim"))
    parts += [Text(), Text("What it takes", style="bold"), _costs(view)]
    for warning in view.result.warnings:
        parts += [Text(), warning_line(warning)]
    return Group(*parts)


def _under_attack(view: GuardView, assault: Assault) -> RichTable:
    ks, k = _columns(view), view.quoted_k
    heads = [f"ASR@{k}" for k in ks] + ([f"SR@{k}"] if view.has_quality else []) + [f"poison@{k}"]
    table = plain_table("defence", *heads, narrow=1)
    for defense in view.defenses:
        found = view.attacked(defense, assault)
        if found is None:
            continue
        at = {one.k: one for one in found.at}
        figures: list[Figure | None] = [at[one].asr for one in ks]
        figures += [at[k].sr] if view.has_quality else []
        table.add_row(
            FoldedName(defense.label),
            *(entry_text(guard_tables.share(one)) for one in (*figures, at[k].poison)),
        )
    return table


def _columns(view: GuardView) -> list[int]:
    """The numbers of hits that are shown: the one that is quoted among them."""
    ks = view.result.settings.top_ks
    return ks if len(ks) <= _MOST_KS else sorted({ks[0], view.quoted_k, ks[-1]})


def _clean(view: GuardView) -> RichTable:
    k = view.quoted_k
    quality = [f"nDCG@{NDCG_DEPTH}", "loss in points", f"recall@{k}"] if view.has_quality else []
    table = plain_table("defence", *quality, f"dropped@{k}", narrow=1)
    for defense in view.defenses:
        found, at = view.clean(defense), view.clean_at(defense, k)
        entries = [guard_tables.share(at.dropped_queries)]
        if view.has_quality:
            entries = [
                guard_tables.ndcg(found.ndcg),
                guard_tables.loss(found.ndcg_loss),
                guard_tables.share(at.recall),
                *entries,
            ]
        table.add_row(FoldedName(defense.label), *map(entry_text, entries))
    return table


def _dropped(k: int) -> str:
    return (
        f"dropped@{k}: questions for which the mode drop would leave out one of the plain search's first {k} "
        "hits"
    )


def _costs(view: GuardView) -> RichTable:
    table = plain_table("defence", "median", "p95", "encodings", "cold", "index", "× plain", narrow=1)
    for row in guard_tables.costs(view):
        words = (row.median, row.p95, row.encodings, row.cold, row.index, row.against_plain)
        table.add_row(FoldedName(row.look.label), *(Text(one) for one in words))
    return table
