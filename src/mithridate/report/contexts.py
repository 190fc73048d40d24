"""What models say against their prompts, as a report sees it: figures and replies by what they are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from mithridate.core.contexts import (
    Conflict,
    ContextCoverage,
    ContextMetric,
    ContextSample,
    Contextual,
    Said,
    Strength,
    Wording,
)
from mithridate.core.exposure_fit import ExposureFit, NoFit, Seen, fit_exposure
from mithridate.report.estimates import Estimate, estimate

PROMPTS = (Strength.PLAIN, Strength.MARKED, Strength.REPEATED, Strength.FEW_SHOT, Strength.ONLY)
"""Prompts that put a context forward; the others ask without one, or for the opposite."""


class Place(NamedTuple):
    """A model at a stage, in one cell of the grid."""

    cell: str
    model: str
    stage: str


class Means(NamedTuple):
    """An intervention as it was set, or what stands in its place; all empty for the model as it is."""

    intervention: str = ""
    variant: str = ""
    control: str = ""


class Case(NamedTuple):
    """What is asked: facts of one exposure, against one kind of context, at one strength, in one wording."""

    exposure: int
    conflict: Conflict
    strength: Strength
    wording: Wording = Wording.PARAPHRASE


AS_IT_IS = Means()
ALL_EXPOSURES = 0
"""The exposure of figures that are over all facts, however often they were stated."""


@dataclass(frozen=True)
class ContextView:
    """All figures and replies of one experiment, or of one model that was examined."""

    rows: tuple[Contextual, ...]
    samples: tuple[ContextSample, ...] = ()
    coverage: tuple[ContextCoverage, ...] = ()

    @cached_property
    def _found(self) -> dict[tuple[Place, Means, Case, ContextMetric], dict[int, Contextual]]:
        found: dict[tuple[Place, Means, Case, ContextMetric], dict[int, Contextual]] = defaultdict(dict)
        for row in self.rows:
            found[_place(row), _means(row), _case(row), row.metric][row.seed] = row
        return found

    @cached_property
    def places(self) -> list[Place]:
        """Models at their stages, in the order of their rows."""
        return list(dict.fromkeys(map(_place, self.rows)))

    @cached_property
    def conflicts(self) -> list[Conflict]:
        """Kinds of contexts that there are rows of."""
        there = {row.conflict for row in self.rows}
        return [one for one in Conflict if one in there and one is not Conflict.NONE]

    @cached_property
    def strengths(self) -> list[Strength]:
        """Prompts with a context, as far as there are rows of them, from the weakest."""
        there = {row.strength for row in self.rows}
        return [one for one in PROMPTS if one in there]

    @cached_property
    def prompts(self) -> list[Strength]:
        """All prompts with a context, that which asks for the opposite last."""
        there = {row.strength for row in self.rows}
        return [*self.strengths, *(one for one in (Strength.PRIOR,) if one in there)]

    @cached_property
    def seeds(self) -> list[int]:
        """All seeds."""
        return sorted({row.seed for row in self.rows} | {one.seed for one in self.coverage})

    def exposures(self, place: Place) -> list[int]:
        """How often facts were stated in training, where somebody counted; from the fewest."""
        return sorted({row.exposure for row in self.rows if _place(row) == place and row.exposure > 0})

    def interventions(self, place: Place) -> list[Means]:
        """What was done to the model, each before what stands in its place."""
        there = dict.fromkeys(_means(row) for row in self.rows if _place(row) == place)
        return sorted(
            (one for one in there if one != AS_IT_IS), key=lambda one: (one.intervention, bool(one.control))
        )

    def figure(
        self, place: Place, case: Case, metric: ContextMetric, means: Means = AS_IT_IS
    ) -> Estimate | None:
        """The mean over seeds with its interval; None where nobody looked."""
        runs = self._found.get((place, means, case, metric))
        return estimate(runs) if runs else None

    def substitutes(self, place: Place, case: Case, means: Means = AS_IT_IS) -> Estimate | None:
        """The share of replies that give the context's answer."""
        return self.figure(place, case, ContextMetric.SUBSTITUTE, means)

    def best(
        self,
        place: Place,
        exposure: int,
        conflict: Conflict,
        wording: Wording = Wording.PARAPHRASE,
        means: Means = AS_IT_IS,
        metric: ContextMetric = ContextMetric.SUBSTITUTE,
    ) -> tuple[Strength, Estimate] | None:
        """The prompt after which most replies give the context's answer; `READ` is of unknown facts."""
        found = [
            (strength, share)
            for strength in self.strengths
            if (share := self.figure(place, Case(exposure, conflict, strength, wording), metric, means))
        ]
        return max(found, key=lambda one: one[1].value, default=None)

    def fit(
        self, place: Place, conflict: Conflict, strength: Strength, wording: Wording = Wording.PARAPHRASE
    ) -> ExposureFit | NoFit:
        """The curve of the share of substitutes over exposures, over all seeds together."""
        seen = [
            Seen(exposure, round(row.value * row.n), row.n)
            for exposure in self.exposures(place)
            for row in self._found.get(
                (place, AS_IT_IS, Case(exposure, conflict, strength, wording), ContextMetric.SUBSTITUTE), {}
            ).values()
        ]
        return fit_exposure(seen)

    @cached_property
    def _asked(self) -> dict[tuple[Place, Means, Case], list[ContextSample]]:
        found: dict[tuple[Place, Means, Case], list[ContextSample]] = defaultdict(list)
        for sample in self.samples:
            found[_place(sample), _means(sample), _case(sample)].append(sample)
        return found

    def followed(self, place: Place, case: Case, means: Means = AS_IT_IS) -> dict[tuple[int, str], bool]:
        """For each seed and known fact, whether most of its replies give the context's answer.

        Known is what the model as it is says by itself in the asked wording; all facts, where nobody asked.
        """
        alone = self._known(place)
        replies: dict[tuple[int, str], list[bool]] = defaultdict(list)
        for sample in self._asked.get((place, means, case), ()):
            if alone is None or (sample.seed, sample.fact) in alone:
                replies[sample.seed, sample.fact].append(sample.said is Said.SUBSTITUTE)
        return {fact: 2 * sum(said) > len(said) for fact, said in replies.items()}

    def _known(self, place: Place) -> set[tuple[int, str]] | None:
        asked = [
            sample
            for (where, means, case), samples in self._asked.items()
            if where == place and means == AS_IT_IS
            if (case.strength, case.wording) == (Strength.ALONE, Wording.ASKED)
            for sample in samples
        ]
        if not asked:
            return None
        return {(one.seed, one.fact) for one in asked if one.said is Said.ORIGINAL}

    def examples(self, most: int) -> list[ContextSample]:
        """At most `most` replies of models as they are, one of each strength and kind of context in turn."""
        turns: dict[tuple[Strength, Conflict], list[ContextSample]] = defaultdict(list)
        for sample in self.samples:
            if _means(sample) == AS_IT_IS:
                turns[sample.strength, sample.conflict].append(sample)
        longest = max(map(len, turns.values()), default=0)
        found = [samples[n] for n in range(longest) for samples in turns.values() if n < len(samples)]
        return found[:most]


def _place(row: Contextual | ContextSample) -> Place:
    return Place(row.cell, row.model, row.stage)


def _means(row: Contextual | ContextSample) -> Means:
    return Means(row.intervention, row.variant, row.control)


def _case(row: Contextual | ContextSample) -> Case:
    return Case(row.exposure, row.conflict, row.strength, row.wording)


def counted(rows: Iterable[Contextual]) -> bool:
    """Whether somebody counted how often facts were stated."""
    return any(row.exposure > 0 for row in rows)
