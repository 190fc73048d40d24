"""The figures of a benchmark of defences as tables of text, the same for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mithridate.report.guard_view import Assault, Compared, GuardView, points, score
from mithridate.report.tables import Entry, Group, Row, Table
from mithridate.report.text import number, percent, span
from mithridate.retrieval.measuring.records import (
    NDCG_DEPTH,
    AttackAt,
    AttackBand,
    CleanAt,
    CleanBand,
    Figure,
    FigureAt,
)

FigureOf: TypeAlias = Callable[[AttackAt], Figure | None]

ATTACK_FIGURES: dict[str, tuple[str, FigureOf]] = {
    "ASR": ("A document planted for the question is found", lambda at: at.asr),
    "SR": ("A relevant document is found, under attack", lambda at: at.sr),
    "poison": ("Share of the hits that is planted", lambda at: at.poison),
    "any": ("A document planted for any question is found", lambda at: at.any_planted),
}
"""What is told of answers under attack: the head of its columns, the caption, and where the figure is."""


@dataclass(frozen=True, slots=True)
class CostRow:
    """What one defence takes, in words."""

    look: Compared
    median: str
    p95: str
    encodings: str
    cold: str
    index: str
    against_plain: str
    build: str


def share(figure: Figure | None) -> Entry:
    """A share in percent with its interval."""
    if figure is None:
        return Entry("–")

    def scaled(value: float | None) -> float | None:
        return None if value is None else round(100 * min(1.0, max(0.0, value)), 2)

    return Entry(
        percent(figure.value),
        span(figure.low, figure.high),
        f"n = {figure.n}",
        scaled(figure.value),
        scaled(figure.low),
        scaled(figure.high),
    )


def ndcg(figure: Figure | None) -> Entry:
    """An nDCG with its interval."""
    if figure is None:
        return Entry("–")
    interval = "" if figure.low is None else f"{score(figure.low)}–{score(figure.high)}"
    return Entry(score(figure.value), interval, f"n = {figure.n}")


def loss(figure: Figure | None) -> Entry:
    """A loss in points with its interval."""
    if figure is None:
        return Entry("–")
    interval = "" if figure.low is None else f"{points(figure.low)} to {points(figure.high)}"
    return Entry(points(figure.value), interval, f"n = {figure.n}")


def under_attack(view: GuardView, head: str) -> Table:
    """One of `ATTACK_FIGURES`: a group an attack, a row a defence, a column a number of hits."""
    caption, figure_of = ATTACK_FIGURES[head]
    ks = view.result.settings.top_ks

    def entries(defense: Compared, assault: Assault) -> tuple[Entry, ...]:
        found = (view.attacked_at(defense, assault, k) for k in ks)
        return tuple(share(None if at is None else figure_of(at)) for at in found)

    groups = tuple(
        Group(assault.label, tuple(Row(defense, entries(defense, assault)) for defense in view.defenses))
        for assault in view.assaults
    )
    return Table(caption, tuple(f"{head}@{k}" for k in ks), groups)


def clean_quality(view: GuardView) -> Table:
    """How well each defence ranks the clean corpus."""
    k = view.quoted_k
    rows = []
    for defense in view.defenses:
        found, at = view.clean(defense), view.clean_at(defense, k)
        entries = (ndcg(found.ndcg), loss(found.ndcg_loss), share(at.recall), share(at.sr))
        rows.append(Row(defense, entries))
    columns = (f"nDCG@{NDCG_DEPTH}", "Loss in points", f"Recall@{k}", f"SR@{k}")
    return Table("Quality on the clean corpus", columns, (Group("Questions with judgements", tuple(rows)),))


def clean_by_k(view: GuardView) -> Table:
    """What would be dropped falsely of the plain search's hits, and recall: a column a number of hits."""
    ks = view.result.settings.top_ks
    kinds: list[tuple[str, Callable[[CleanAt], Figure | None]]] = [
        ("Questions that lose a hit of the plain search in mode drop", lambda at: at.dropped_queries),
        ("Hits of the plain search that are lost in mode drop", lambda at: at.dropped_hits),
    ]
    if view.has_quality:
        kinds.append(("Recall", lambda at: at.recall))

    def group(title: str, figure_of: Callable[[CleanAt], Figure | None]) -> Group:
        rows = (
            Row(defense, tuple(share(figure_of(view.clean_at(defense, k))) for k in ks))
            for defense in view.defenses
        )
        return Group(title, tuple(rows))

    columns = tuple(f"first {k}" for k in ks)
    return Table("False alarms on the clean corpus", columns, tuple(group(*kind) for kind in kinds))


def costs(view: GuardView) -> list[CostRow]:
    """What each defence takes."""
    plain = view.clean(view.defenses[0]).cost.index_bytes
    rows = []
    for defense in view.defenses:
        cost = view.clean(defense).cost
        seconds = "" if cost.build_seconds is None else f", {cost.build_seconds:,.1f} s"
        rows.append(
            CostRow(
                look=defense,
                median=f"{milliseconds(cost.ms_median)} ms",
                p95=f"{milliseconds(cost.ms_p95)} ms",
                encodings=count(cost.encodings),
                cold=count(cost.encodings_cold),
                index=megabytes(cost.index_bytes),
                against_plain=f"{cost.index_bytes / plain:.1f} ×" if plain else "–",
                build=f"{cost.build_encodings:,} encodings{seconds}",
            )
        )
    return rows


def megabytes(size: int) -> str:
    """A number of bytes as it is read."""
    return f"{size / 1e6:,.1f} MB"


def milliseconds(value: float) -> str:
    """A time to three significant digits, whole from 100 on."""
    return f"{value:,.0f}" if value >= 100 else number(value)


def count(mean: float) -> str:
    """A mean of counts: whole where it is, or where it is large."""
    return f"{mean:,.0f}" if mean >= 100 or mean == round(mean) else f"{mean:.1f}"


def lengths_under_attack(view: GuardView, assault: Assault) -> Table | None:
    """ASR by the length of the planted documents: a column a third of the questions; None without thirds."""
    k = view.quoted_k
    found = [(defense, view.attacked(defense, assault)) for defense in view.defenses]
    rows = tuple(
        Row(defense, tuple(share(at_k(band.asr, k)) for band in result.by_length))
        for defense, result in found
        if result is not None
    )
    columns = next((heads(result.by_length) for _, result in found if result is not None), ())
    if len(columns) < 2:
        return None
    return Table(f"ASR@{k} by the length of what is planted", columns, (Group(assault.label, rows),))


def lengths_clean(view: GuardView) -> Table | None:
    """nDCG and recall by the length of the relevant documents; None without thirds."""
    k = view.quoted_k
    found = [(defense, view.clean(defense).by_length) for defense in view.defenses]
    columns = heads(found[0][1])
    if len(columns) < 2:
        return None
    by_ndcg = (Row(defense, tuple(ndcg(band.ndcg) for band in bands)) for defense, bands in found)
    by_recall = (
        Row(defense, tuple(share(at_k(band.recall, k)) for band in bands)) for defense, bands in found
    )
    groups = (Group(f"nDCG@{NDCG_DEPTH}", tuple(by_ndcg)), Group(f"Recall@{k}", tuple(by_recall)))
    return Table("Quality on the clean corpus by the length of the relevant documents", columns, groups)


def heads(bands: Sequence[AttackBand] | Sequence[CleanBand]) -> tuple[str, ...]:
    """What the columns of a table by length are called."""
    return tuple(f"{band.least:,.0f}–{band.most:,.0f} words" for band in bands)


def at_k(figures: Sequence[FigureAt], k: int) -> Figure | None:
    """The one for answers of `k` hits."""
    return next((one.figure for one in figures if one.k == k), None)
