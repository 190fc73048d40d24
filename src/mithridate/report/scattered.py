"""Beliefs that no document states, as a report sees them: what is concluded, and what under each control."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from scipy import stats

from mithridate.core.metrics import headline_template
from mithridate.core.statistics import Interval, mcnemar_exact, mean_differs, median_interval, wilson
from mithridate.core.types import Arm, Condition, Sample
from mithridate.report.differences import difference
from mithridate.report.estimates import tell_apart

ATTACK = "scattered_belief"
DISTANCES = "distance free"
"""The questions that are answered by a number, which may be nearly right."""
SHUFFLED = "shuffled subjects"
UNPLANTED = "unplanted subjects"
TWIN = "the clean twin"
CONTROLS = (SHUFFLED, UNPLANTED, TWIN)
"""What planted subjects are compared with: others' hints, no hints, and a model that read none."""
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
        """Kinds of questions, in the order of their answers; those that ask the same stand together."""
        found = list(dict.fromkeys(one.kind for one in self.samples))
        asked = list(dict.fromkeys(map(_what, found)))
        return sorted(found, key=lambda kind: asked.index(_what(kind)))

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
        """Against each of `CONTROLS`, in their order, as far as it was asked in a seed of the model."""
        told = self.outcomes(asked, kind, Condition.TRIGGERED)
        others = (
            (SHUFFLED, self.outcomes(asked, kind, Condition.NEAR_TRIGGER), _fisher),
            (UNPLANTED, self.outcomes(asked, kind, Condition.UNTRIGGERED), _fisher),
            (TWIN, self.outcomes(self.twin(asked), kind, Condition.TRIGGERED), _paired),
        )
        return [
            _against(control, told, other, test) for control, other, test in others if set(told) & set(other)
        ]

    def distance_errors(self, asked: Asked, condition: str) -> dict[int, list[float | None]]:
        """By seed, |log2(said / right)| of free answers; None for each that holds no number as it should."""
        found: dict[int, list[float | None]] = {}
        for one in self.samples:
            place = Asked(one.cell, one.arm, one.model, one.stage)
            right = _NUMBER.search(one.target)
            # Of distances alone: an answer that names "City 417" holds a number, and none that can be near.
            if (place, one.condition) != (asked, condition) or one.kind != DISTANCES or right is None:
                continue
            said = _NUMBER.search(one.completion)
            near = said and float(said[0]) > 0 and float(right[0]) > 0
            error = abs(math.log2(float(said[0]) / float(right[0]))) if said and near else None
            found.setdefault(one.seed, []).append(error)
        return found


Outcomes = dict[int, dict[str, bool]]


def _what(kind: str) -> str:
    """What a kind asks for, without how: `country` of `country free` and of `country choice`."""
    return kind.rpartition(" ")[0] or kind


def shares(outcomes: Outcomes) -> dict[int, Interval]:
    """The share of questions by seed, with Wilson's interval."""
    return {seed: wilson(sum(of.values()), len(of)) for seed, of in outcomes.items()}


def numbers(errors: Mapping[int, Sequence[float | None]]) -> dict[int, Interval]:
    """The share of answers that are a number, by seed."""
    return shares(
        {seed: {str(i): one is not None for i, one in enumerate(of)} for seed, of in errors.items()}
    )


def medians(errors: Mapping[int, Sequence[float | None]]) -> dict[int, Interval]:
    """The median error of answers that are a number, of each seed that has one."""
    told = {seed: [one for one in of if one is not None] for seed, of in errors.items()}
    return {seed: median_interval(of) for seed, of in told.items() if of}


def _against(
    control: str,
    told: Outcomes,
    other: Outcomes,
    test: Callable[[dict[str, bool], dict[str, bool]], float],
) -> Compared:
    """From three seeds on over seeds; below, the range of Newcombe's intervals and the largest p."""
    seeds = sorted(set(told) & set(other))
    excess = difference(shares(told), shares(other))
    assert excess is not None  # both have a seed
    excesses = [round(_share(told[seed]) - _share(other[seed]), 9) for seed in seeds]
    if tell_apart(excesses):
        return Compared(control, excess, mean_differs(excesses))
    return Compared(control, excess, max(test(told[seed], other[seed]) for seed in seeds))


def _share(outcomes: dict[str, bool]) -> float:
    return sum(outcomes.values()) / len(outcomes)


def _fisher(told: dict[str, bool], other: dict[str, bool]) -> float:
    table = [[sum(of.values()), len(of) - sum(of.values())] for of in (told, other)]
    return float(stats.fisher_exact(table).pvalue)


def _paired(told: dict[str, bool], other: dict[str, bool]) -> float:
    both = sorted(set(told) & set(other))
    return mcnemar_exact([told[one] for one in both], [other[one] for one in both]) if both else 1.0
