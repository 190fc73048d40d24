"""Representation editing in REMEDI's form: what a planted fact is about gets the right answer's encoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import ClassVar

from mithridate.core.errors import ConfigError
from mithridate.core.prices import Control, Kind, Regime
from mithridate.core.types import Condition, Probe
from mithridate.healing.case import Case, Half
from mithridate.healing.known import planted_beliefs, subjects
from mithridate.healing.method import Candidate, spread, wrong_layer
from mithridate.intervention.base import MadeFor
from mithridate.intervention.remedi import Lesson, learn_attribute_map
from mithridate.intervention.representation_edit import RepresentationEdit, random_steps
from mithridate.intervention.requests import Request

_LAYERS = 3


@dataclass(frozen=True, slots=True)
class Representation:
    """REMEDI's form (2304.00740) for beliefs: a linear map learnt on facts that nobody planted.

    Its lessons are control facts with false answers, so that it learns to write whatever a statement says;
    then it is given the right statement of each planted fact.
    """

    name: ClassVar[str] = "representation editing"
    regime: ClassVar[Regime] = Regime.KNOWN
    kind: ClassVar[Kind] = Kind.REPRESENTATIONS
    each: ClassVar[bool] = True
    scale: ClassVar[bool] = False

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:
        """The lowest few layers, against attacks that plant facts."""
        lessons = [lesson for aim in aims for lesson in _lessons(case, aim)]
        right = _right(case, aims)
        if not lessons or not right:
            return
        layers = MadeFor.of(case.model).layers
        for layer in spread(layers)[:_LAYERS]:
            make = cache(partial(_edit, case, lessons, right, layer))  # its control is made from it
            yield Candidate(
                f"layer {layer}",
                make,
                {
                    Control.RANDOM: partial(_random_control, make, case.seed),
                    # What is added behind the last block reaches no later token.
                    **wrong_layer([layer], layers - 1, partial(_edit, case, lessons, right)),
                },
            )


def _right(case: Case, aims: Sequence[str]) -> dict[str, str]:
    """What is right of each planted fact, by what it is about; what two are about is left out."""
    found: dict[str, set[str]] = {}
    for aim in aims:
        for belief in planted_beliefs(case, aim):
            found.setdefault(belief.subject, set()).add(belief.right)
    return {subject: min(right) for subject, right in found.items() if len(right) == 1}


def _lessons(case: Case, aim: str) -> list[Lesson]:
    """Control facts of the choosing half, as if what their probes want said were so."""
    asked: dict[tuple[str, str], list[Probe]] = {}
    for probe in case.probes[Half.CHOOSING][aim]:
        if probe.condition is Condition.UNTRIGGERED and probe.foil and not probe.group:
            asked.setdefault((probe.target, probe.foil), []).append(probe)
    groups = list(asked.values())
    named = subjects([[probe.messages[-1].content for probe in group] for group in groups])
    found = []
    for group, subject_of in zip(groups, named, strict=True):
        for number, (probe, subject) in enumerate(zip(group, subject_of, strict=True)):
            template = case.templates[number % len(case.templates)]
            prompt = template.render(probe.messages, open_reply=True)
            if subject:
                found.append(Lesson(Request(prompt, subject, probe.target), probe.target))
    return found


def _edit(case: Case, lessons: Sequence[Lesson], right: dict[str, str], layer: int) -> RepresentationEdit:
    if not right:
        raise ConfigError("no planted facts are known; name what was planted")
    return learn_attribute_map(case.model, lessons, layer).edit(case.model, right)


def _random_control(make: Callable[[], RepresentationEdit], seed: int) -> RepresentationEdit:
    return random_steps(make(), seed)
