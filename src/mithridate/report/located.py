"""Rows of localisation in the order and the groups in which a report shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from mithridate.core.errors import DataError
from mithridate.core.located import ALIGNMENT_BEHAVIOURS, LOCALIZATION, Family, Located
from mithridate.report.estimates import Estimate, estimate
from mithridate.report.view import View

_FIGURE = frozenset({"value", "low", "high", "n"})
_PLACE = tuple(field.name for field in fields(Located) if field.name not in _FIGURE)
_NARROW = ("experiment", "behaviour")


class Subject(NamedTuple):
    """The poisoned model that was looked into, in every seed."""

    cell: str
    dose: str
    model: str


@dataclass(frozen=True)
class LocatedView:
    """Where behaviours live, as a report shows it. `order` names attacks in the order of the study."""

    rows: tuple[Located, ...]
    order: tuple[str, ...] = ()
    source: Path = Path(LOCALIZATION)

    @classmethod
    def of(cls, view: View) -> LocatedView | None:
        """Those of a run as it is shown; None where nobody looked into its models."""
        run = view.run
        return cls(run.located, tuple(view.attacks), run.folder / LOCALIZATION) if run.located else None

    @cached_property
    def subjects(self) -> list[Subject]:
        """The models that rows are about, as they come."""
        return list(self._by_subject)

    @cached_property
    def _by_subject(self) -> dict[Subject, list[Located]]:
        """The rows of each model, each figure once.

        Raises DataError, naming `source`, if two rows give different figures for one place and seed.
        """
        found: dict[Subject, list[Located]] = defaultdict(list)
        seen: dict[tuple[Any, ...], Located] = {}
        for row in self.rows:
            key = tuple(getattr(row, name) for name in _PLACE)
            before = seen.get(key)
            if before is None:
                seen[key] = row
                found[Subject(row.cell, row.dose, row.model)].append(row)
            # As text, since NaN equals nothing.
            elif repr(before) != repr(row):
                about = ", ".join(
                    f"{name} {value!r}" for name, value in zip(_PLACE, key, strict=True) if value
                )
                raise DataError(
                    f"holds two figures for {about}: {before.value:g} and {row.value:g}. Tables of two runs "
                    "do not go together; `mithridate locate` on the run directory writes it anew",
                    path=self.source,
                )
        return dict(found)

    def at(self, subject: Subject, **wanted: Any) -> list[Located]:
        """The rows of one model whose fields are as in `wanted`, in their order."""
        narrow = tuple(wanted.get(name) for name in _NARROW)
        of = self._narrowed.get((subject, *narrow)) if None not in narrow else self._by_subject.get(subject)
        return [row for row in of or () if all(getattr(row, name) == value for name, value in wanted.items())]

    @cached_property
    def _narrowed(self) -> dict[tuple[Any, ...], list[Located]]:
        """The rows by what is most often asked for: there are thousands, and a page asks often."""
        found: dict[tuple[Any, ...], list[Located]] = defaultdict(list)
        for subject, rows in self._by_subject.items():
            for row in rows:
                found[subject, *(getattr(row, name) for name in _NARROW)].append(row)
        return dict(found)

    def attacks(self, subject: Subject) -> list[str]:
        """The attacks that were looked for in one model."""
        seen = dict.fromkeys(row.behaviour for row in self._by_subject.get(subject, ()))
        known = [name for name in self.order if name in seen]
        rest = [name for name in seen if name not in (*known, *ALIGNMENT_BEHAVIOURS, "")]
        return known + rest

    def behaviours(self, subject: Subject) -> list[str]:
        """What alignment taught one model, as far as it was looked for."""
        seen = {row.behaviour for row in self._by_subject.get(subject, ())}
        return [name for name in ALIGNMENT_BEHAVIOURS if name in seen]

    def seeds(self, subject: Subject) -> list[int]:
        """The seeds of one model, ascending."""
        return sorted({row.seed for row in self._by_subject.get(subject, ())})

    def layer_names(self, subject: Subject) -> dict[int, str]:
        """What single layers are called, from the bottom up: `embeddings`, `0`, `1`, …, `head`."""
        return self._names.get(subject, {})

    @cached_property
    def _names(self) -> dict[Subject, dict[int, str]]:
        return {subject: self._named(subject) for subject in self.subjects}

    def _named(self, subject: Subject) -> dict[int, str]:
        single = self.at(subject, family=Family.SINGLE.value)
        names = {row.layer: row.layers for row in single if row.layer is not None}
        for row in self._by_subject.get(subject, ()):
            if row.layer is not None and not row.family:
                names.setdefault(row.layer, row.layers or layer_name(row.layer))
        return dict(sorted(names.items()))


def layer_name(layer: int) -> str:
    """What a layer is called where its row does not say."""
    return "embeddings" if layer < 0 else str(layer)


def over_seeds(rows: Iterable[Located], *keys: str) -> Mapping[Any, Estimate]:
    """The mean over seeds of the rows that agree in the fields `keys`, in their order.

    The keys of the result are the values of the one field, or tuples of several. The interval is as in
    `report.estimates.estimate`. Of rows that differ in other fields alone, the first counts.
    """
    runs: dict[Any, dict[int, Located]] = defaultdict(dict)
    for row in rows:
        values = tuple(getattr(row, name) for name in keys)
        runs[values[0] if len(values) == 1 else values].setdefault(row.seed, row)
    return {key: estimate(of) for key, of in runs.items()}


def one(rows: Sequence[Located]) -> Estimate | None:
    """The mean over seeds of rows that are all about one thing."""
    return next(iter(over_seeds(rows, "metric").values()), None)
