"""The section on beliefs that retrieval meets: weights, documents and guard, each one way or the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from mithridate.core.contexts import Bridged, Holds
from mithridate.report.estimates import estimate
from mithridate.report.sections import Line, Section, seeds_in_words
from mithridate.report.tables import Entry, Group, Row, Table, share_entry
from mithridate.report.text import one_line, percent, subject_line

_PLAIN = "no guard"
# Columns of the rows, and their heads.
_APART = {"reached_right": "right document", "reached_planted": "planted document"}
_TOGETHER = {"reached": "document of either kind"}


class _Place(NamedTuple):
    cell: str
    dose: str
    stage: str
    intervention: str


@dataclass(frozen=True, slots=True)
class _Share:
    """One share of a row, as figures of a seed are."""

    value: float
    low: float | None
    high: float | None
    n: int


def bridge_section(rows: Sequence[Bridged]) -> Section | None:
    """The section of a run's report; None where nothing was retrieved."""
    if not rows:
        return None
    # Clean twins answer for every dose, and may have none of their own.
    doses = any(row.dose for row in rows)
    places = list(dict.fromkeys(_place(row) for row in rows if row.dose or not doses))
    return Section(
        anchor="bridge",
        title="When retrieval meets a belief",
        short="Retrieval",
        words=(
            "The same questions to the clean twin (weights right) and to the poisoned model, with retrieved "
            "documents among which the fact stands right or poisoned, behind the plain search and the guard. "
            "Shares of replies with the planted answer and the true one; beside them, for how many questions "
            "a document that states the fact rightly, and a planted one, was in the prompt. It rests on "
            f"{seeds_in_words([row.seed for row in rows])}.",
        ),
        claims=(),
        charts=(),
        tables=tuple(_grid(rows, place) for place in places),
        open_tables=len(places),
        whose="Weights and documents",
    )


def _grid(rows: Sequence[Bridged], place: _Place) -> Table:
    here = [row for row in rows if _place(row)._replace(dose=row.dose or place.dose) == place]
    guards = sorted({row.guard for row in here}, key=lambda guard: (guard != "", guard))
    # Tables of before right and planted documents were told apart have one figure for both.
    reached = _APART if all(row.reached_right is not None for row in here) else _TOGETHER
    shares = ("planted", "true", *reached.values())
    columns = [f"{one_line(guard, 30) or _PLAIN}: {what}" for guard in guards for what in shares]
    groups = tuple(
        Group(
            f"Weights {weights}",
            tuple(
                Row(
                    Line(f"documents {documents}", index),
                    tuple(one for guard in guards for one in _cell(here, weights, documents, guard, reached)),
                )
                for index, documents in enumerate(Holds)
            ),
        )
        for weights in Holds
    )
    return Table(f"Answers, {subject_line(*place)}", tuple(columns), groups)


def _cell(
    rows: Sequence[Bridged], weights: Holds, documents: Holds, guard: str, reached: Collection[str]
) -> tuple[Entry, ...]:
    found = {
        row.seed: row
        for row in rows
        if (row.weights, row.documents, row.guard) == (weights, documents, guard)
    }
    if not found:
        return (Entry("–"),) * (2 + len(reached))
    planted = {s: _Share(r.planted, r.planted_low, r.planted_high, r.n) for s, r in found.items()}
    right = {s: _Share(r.right, r.right_low, r.right_high, r.n) for s, r in found.items()}
    met = (Entry(percent(fmean(getattr(row, kind) for row in found.values()))) for kind in reached)
    return (share_entry(estimate(planted)), share_entry(estimate(right)), *met)


def _place(row: Bridged) -> _Place:
    return _Place(row.cell, row.dose, row.stage, row.intervention)
