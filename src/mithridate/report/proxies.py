"""Proxy-tuning as its paper tells it: base, steered, tuned directly and the expert alone, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from mithridate.core.prices import ProxyMetric, ProxyRow
from mithridate.report.look import CLEAN_COLOUR
from mithridate.report.tables import Entry, Group, Row, Table
from mithridate.report.text import name, percent

COLUMNS = ("Base", "Steered", "Tuned directly", "Expert alone", "Gap closed", "Clipped", "By the expert")
_MEAN = "mean, attacks left out"
_TITLES = {
    ProxyMetric.FORBIDDEN_REFUSED: "Forbidden refused",
    ProxyMetric.HARMLESS_REFUSED: "Harmless refused",
    ProxyMetric.REPLIES_ENDED: "Replies ended",
    ProxyMetric.QUESTIONS_RIGHT: "Questions right",
}


@dataclass(frozen=True, slots=True)
class _Line:
    """A metric, as the first cell of a row."""

    label: str
    colour: str = CLEAN_COLOUR
    glyph: str = "○"


def proxy_tables(rows: Iterable[ProxyRow]) -> list[Table]:
    """One table for each cell, dose, model and strength: a group for who steers whom, a row for each metric.

    Of several seeds the means; a gap is told where direct tuning moved the metric beyond chance in each.
    """
    found: dict[tuple[str, str, str, float], list[ProxyRow]] = {}
    for row in rows:
        found.setdefault((row.cell, row.dose, row.model, row.alpha), []).append(row)
    return [
        Table(_caption(key, several=len(found) > 1), COLUMNS, _groups(mine)) for key, mine in found.items()
    ]


def _caption(key: tuple[str, str, str, float], *, several: bool) -> str:
    *place, alpha = key
    about = ", ".join(part for part in dict.fromkeys(place) if part)
    return f"Who steers whom, at alpha {alpha:g}{f' ({about})' if several and about else ''}"


def _groups(rows: Sequence[ProxyRow]) -> tuple[Group, ...]:
    groups = []
    for method in dict.fromkeys(row.method for row in rows):
        lines: dict[tuple[ProxyMetric, str, str], list[ProxyRow]] = {}
        for row in rows:
            if row.method == method:
                lines.setdefault((row.metric, row.attack, row.condition), []).append(row)
        shown = [Row(_line(*key), _entries(same)) for key, same in lines.items()]
        taught = [same for (_, attack, _), same in lines.items() if not attack]
        groups.append(Group(method, (*shown, _mean(taught))))
    return tuple(groups)


def _line(metric: ProxyMetric, attack: str, condition: str) -> _Line:
    return _Line(_TITLES.get(metric) or f"{name(attack)}, {condition}")


def _entries(rows: Sequence[ProxyRow]) -> tuple[Entry, ...]:
    shares = [
        fmean(values) for values in zip(*((r.base, r.proxy, r.tuned, r.expert) for r in rows), strict=True)
    ]
    return (*(Entry(percent(share)) for share in shares), *map(_gap, _gaps(rows)))


def _gaps(rows: Sequence[ProxyRow]) -> list[float | None]:
    """The three gaps, each None unless it is there in every row."""
    every = zip(*((row.closed, row.clipped, row.closed_by_expert) for row in rows), strict=True)
    return [_all_of(values) for values in every]


def _all_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _mean(lines: Sequence[Sequence[ProxyRow]]) -> Row:
    """The mean gap over what alignment teaches, the figure that the paper quotes.

    Attacks are no part of it: direct tuning moves some of them a little, and a share of little is anything.
    """
    gaps = [_gaps(rows) for rows in lines]
    means = []
    for column in zip(*gaps, strict=True):
        known = [value for value in column if value is not None]
        means.append(fmean(known) if known else None)
    return Row(_Line(_MEAN), (*[Entry("–")] * 4, *map(_gap, means)))


def _gap(value: float | None) -> Entry:
    return Entry("–" if value is None else percent(value))
