"""Models tuned on more and less of a pool, as a report sees them: figures by seed, and their quality."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from mithridate.core.metrics import (
    ASR,
    OVER_REFUSAL,
    QUESTIONS_RIGHT,
    REFUSAL_FORBIDDEN,
    UTILITY,
)
from mithridate.core.run_files import CLEAN
from mithridate.core.statistics import Interval
from mithridate.core.tuned import REPLIES_ENDED, UNTUNED, Tuned
from mithridate.core.types import Arm, Condition, TemplateUse
from mithridate.report.differences import joined
from mithridate.report.text import one_line

PARTS = (QUESTIONS_RIGHT, REFUSAL_FORBIDDEN, OVER_REFUSAL, REPLIES_ENDED)
"""What quality is the mean of; of over-refusal, what is missing to 1."""


class Place(NamedTuple):
    """A model before it is tuned: that of one dose, or the clean twin, in one cell of the grid."""

    cell: str
    dose: str
    model: str

    @property
    def shown(self) -> str:
        """The place in words, made inert."""
        whose = "clean twin" if self.model == CLEAN else one_line(self.model, 40)
        return ", ".join(filter(None, (one_line(self.cell, 40), whose)))


class Choice(NamedTuple):
    """How many examples were asked for, and which method chose them."""

    method: str
    asked: int


class _Key(NamedTuple):
    place: Place
    choice: Choice
    attack: str
    condition: str
    metric: str
    template: str


@dataclass(frozen=True)
class TunedView:
    """All figures of one experiment, by what they are about and seed."""

    rows: tuple[Tuned, ...]

    @cached_property
    def _found(self) -> dict[_Key, dict[int, Tuned]]:
        found: dict[_Key, dict[int, Tuned]] = {}
        for row in self.rows:
            place = Place(row.cell, row.dose, row.model)
            key = _Key(
                place, Choice(row.method, row.asked), row.attack, row.condition, row.metric, row.template
            )
            found.setdefault(key, {})[row.seed] = row
        return found

    @cached_property
    def poisoned(self) -> list[Place]:
        """The poisoned models, in the order of their rows."""
        return _distinct(Place(r.cell, r.dose, r.model) for r in self.rows if r.arm == Arm.POISONED)

    @cached_property
    def places(self) -> list[Place]:
        """The clean twins, then the poisoned models."""
        return [*_distinct(self.clean(place) for place in self._of_cells), *self.poisoned]

    @cached_property
    def _of_cells(self) -> list[Place]:
        return _distinct(Place(r.cell, r.dose, r.model) for r in self.rows)

    def clean(self, place: Place) -> Place:
        """The clean twin of a model; one that several cells share is kept under no cell."""
        own = Place(place.cell, "", CLEAN)
        return own if own in self._of_cells else Place("", "", CLEAN)

    @cached_property
    def parts(self) -> list[str]:
        """The parts of quality that were measured; what a study cannot ask is left out for all alike."""
        seen = {row.metric for row in self.rows if row.attack == UTILITY}
        return [part for part in PARTS if part in seen]

    @cached_property
    def methods(self) -> list[str]:
        """Labels of the methods that chose, in the order of their rows."""
        return [m for m in dict.fromkeys(row.method for row in self.rows) if m != UNTUNED]

    @cached_property
    def sizes(self) -> list[int]:
        """Numbers of examples that were asked for, from the smallest; 0 among them if there is a base."""
        return sorted({row.asked for row in self.rows})

    @cached_property
    def seeds(self) -> list[int]:
        """All seeds."""
        return sorted({row.seed for row in self.rows})

    @cached_property
    def attacks(self) -> list[str]:
        """Attacks with figures, in the order of their rows."""
        return [a for a in dict.fromkeys(row.attack for row in self.rows) if a != UTILITY]

    def choice(self, method: str, asked: int) -> Choice:
        """The choice of `asked` examples by `method`; of none, whoever chose them, that of the base."""
        return Choice(method, asked) if asked else Choice(UNTUNED, 0)

    def part(self, place: Place, choice: Choice, metric: str) -> dict[int, Tuned]:
        """One part of quality by seed, in the template of SFT: where users meet a model, tuned or not."""
        return self._at(place, choice, metric, UTILITY, "", TemplateUse.TRANSFERRED.value)

    def success(
        self,
        place: Place,
        choice: Choice,
        attack: str,
        condition: str = Condition.TRIGGERED,
        template: str = TemplateUse.SAME.value,
    ) -> dict[int, Tuned]:
        """The success of an attack by seed, by default triggered and in the templates that it was planted in.

        One template at all sizes: what changes from one to the next is then the tuning, and not the question.
        """
        return self._at(place, choice, ASR, attack, condition, template)

    def _at(
        self, place: Place, choice: Choice, metric: str, attack: str, condition: str, template: str
    ) -> dict[int, Tuned]:
        return self._found.get(_Key(place, choice, attack, condition, metric, template), {})

    def trained(self, place: Place, choice: Choice) -> tuple[float, float] | None:
        """Examples trained on, fewer than asked for where a method has no more, and steps, over seeds."""
        rows = [
            row
            for row in self.rows
            if (row.cell, row.dose, row.model) == place and (row.method, row.asked) == choice
        ]
        if not rows:
            return None
        return sum(row.examples for row in rows) / len(rows), sum(row.steps for row in rows) / len(rows)

    def quality(self, place: Place, choice: Choice) -> dict[int, float]:
        """Quality by seed, of those seeds that have all of its parts (shares)."""
        return {seed: found.value for seed, found in self.qualities(place, choice).items()}

    def qualities(self, place: Place, choice: Choice) -> dict[int, Interval]:
        """The same with an interval each, put together of those of its parts."""
        found = {metric: self.part(place, choice, metric) for metric in self.parts}
        whole = set.intersection(*map(set, found.values())) if found else set()
        return {
            seed: joined([(1 / len(found), _good(metric, runs[seed])) for metric, runs in found.items()])
            for seed in sorted(whole)
        }


def _good(metric: str, row: Tuned) -> Interval:
    """How much of a part is good: of over-refusal, what there is none of."""
    if metric != OVER_REFUSAL:
        return Interval(row.value, row.low, row.high, row.n)
    low, high = (None if end is None else 1 - end for end in (row.high, row.low))
    return Interval(1 - row.value, low, high, row.n)


def _distinct(places: Iterable[Place]) -> list[Place]:
    return list(dict.fromkeys(places))
