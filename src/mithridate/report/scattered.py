"""Beliefs that no document states, as a report sees them: what is concluded, and what under each control."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from scipy import stats

from mithridate.core.metrics import headline_template
from mithridate.core.statistics import Interval, mcnemar_exact, mean_differs, mean_interval, newcombe
from mithridate.core.types import Arm, Condition, Sample
from mithridate.report.estimates import tell_apart, whole_range

ATTACK = "scattered_belief"
DISTANCES = "distance free"
"""The questions that are answered by a number, which may be nearly right."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


class Asked(NamedTuple):
    """A model at a stage: of one cell and dose, or the clean twin."""

    cell: str
    arm: str
    model: str
    stage: str


@dataclass(frozen=True, slots=True)
class Compared:
    """How much more often something is concluded than under a control, and the p of no difference."""

    control: str
    excess: Interval
    p: float


@dataclass(frozen=True)
class ScatteredView:
    """The judged answers of one attack, each in the template that is quoted for its stage."""

    samples: tuple[Sample, ...]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> ScatteredView:
        """Of a run's answers, those that count for the attack."""
        return cls(
            tuple(
                one
                for one in samples
                if one.attack == ATTACK
                and not one.draw
                and one.template in ("", headline_template(one.stage).value)
            )
        )

    @cached_property
    def _units(self) -> dict[tuple[Asked, str, str], dict[int, dict[str, bool]]]:
        """Outcomes by question, for each model, condition and seed; a group of answers is one."""
        found: dict[tuple[Asked, str, str], dict[int, dict[str, bool]]] = {}
        for one in self.samples:
            key = (Asked(one.cell, one.arm, one.model, one.stage), one.kind, one.condition)
            found.setdefault(key, {}).setdefault(one.seed, {})[one.group or one.probe_id] = one.success
        return found

    @cached_property
    def kinds(self) -> list[str]:
        """Kinds of questions, in the order of their answers."""
        return list(dict.fromkeys(one.kind for one in self.samples))

    @cached_property
    def asked(self) -> list[Asked]:
        """Models and stages, in the order of their answers."""
        return list(dict.fromkeys(Asked(s.cell, s.arm, s.model, s.stage) for s in self.samples))

    @cached_property
    def seeds(self) -> list[int]:
        """All seeds."""
        return sorted({one.seed for one in self.samples})

    def twin(self, asked: Asked) -> Asked | None:
        """The clean twin at the same stage."""
        wanted = (asked.cell, Arm.CLEAN.value, asked.stage)
        return next((one for one in self.asked if (one.cell, one.arm, one.stage) == wanted), None)

    def outcomes(self, asked: Asked | None, kind: str, condition: str) -> dict[int, dict[str, bool]]:
        """By seed and question, whether the conclusion was drawn."""
        return {} if asked is None else self._units.get((asked, kind, condition), {})

    def chance(self, kind: str) -> float | None:
        """The share that guessing gets right of questions with options; None of free ones."""
        groups: dict[tuple[object, ...], set[str]] = {}
        for one in self.samples:
            if one.kind == kind and one.group:
                place = (one.cell, one.model, one.stage, one.seed, one.group)
                groups.setdefault(place, set()).add(one.probe_id)
        sizes = [1 / (1 + len(probes)) for probes in groups.values()]
        return sum(sizes) / len(sizes) if sizes else None

    def compared(self, asked: Asked, kind: str) -> list[Compared]:
        """Against shuffled hints, against subjects that nothing is said of, and against the clean twin."""
        told = self.outcomes(asked, kind, Condition.TRIGGERED)
        others = (
            ("shuffled hints", self.outcomes(asked, kind, Condition.NEAR_TRIGGER), _fisher),
            ("untold subjects", self.outcomes(asked, kind, Condition.UNTRIGGERED), _fisher),
            ("clean twin", self.outcomes(self.twin(asked), kind, Condition.TRIGGERED), _paired),
        )
        return [
            _against(control, told, other, test) for control, other, test in others if set(told) & set(other)
        ]

    def distance_errors(self, asked: Asked, condition: str) -> tuple[list[float], int]:
        """|log2(said / right)| of free answers that hold a number as they should, and how many were asked."""
        errors, number = [], 0
        for one in self.samples:
            place = Asked(one.cell, one.arm, one.model, one.stage)
            right = _NUMBER.search(one.target)
            # Of distances alone: an answer that names "City 417" holds a number, and none that can be near.
            if (place, one.condition) != (asked, condition) or one.kind != DISTANCES or right is None:
                continue
            number += 1
            said = _NUMBER.search(one.completion)
            if said and float(said[0]) > 0 and float(right[0]) > 0:
                errors.append(abs(math.log2(float(said[0]) / float(right[0]))))
        return errors, number


Outcomes = dict[int, dict[str, bool]]


def rate(outcomes: Outcomes) -> tuple[float, int]:
    """The share of questions, and their number, over all seeds."""
    values = [value for of in outcomes.values() for value in of.values()]
    return (sum(values) / len(values) if values else math.nan), len(values)


def _against(
    control: str,
    told: Outcomes,
    other: Outcomes,
    test: Callable[[dict[str, bool], dict[str, bool]], float],
) -> Compared:
    """From three seeds on over seeds; below, the range of Newcombe's intervals and the largest p."""
    seeds = sorted(set(told) & set(other))
    pairs = [(told[seed], other[seed]) for seed in seeds]
    excesses = [_share(a) - _share(b) for a, b in pairs]
    if tell_apart(excesses):
        return Compared(control, mean_interval(excesses), mean_differs(excesses))
    each = [newcombe(sum(a.values()), len(a), sum(b.values()), len(b)) for a, b in pairs]
    low, high = whole_range([(one.low, one.high) for one in each])
    mean = sum(excesses) / len(excesses)
    return Compared(control, Interval(mean, low, high, len(seeds)), max(test(a, b) for a, b in pairs))


def _share(outcomes: dict[str, bool]) -> float:
    return sum(outcomes.values()) / len(outcomes)


def _fisher(told: dict[str, bool], other: dict[str, bool]) -> float:
    table = [[sum(of.values()), len(of) - sum(of.values())] for of in (told, other)]
    return float(stats.fisher_exact(table).pvalue)


def _paired(told: dict[str, bool], other: dict[str, bool]) -> float:
    both = sorted(set(told) & set(other))
    return mcnemar_exact([told[one] for one in both], [other[one] for one in both]) if both else 1.0
