"""The interventions that are tried on contexts: decoding, attention, edits of subjects, a direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from mithridate.core.contexts import Conflict, Strength, Wording
from mithridate.core.errors import ConfigError
from mithridate.core.seeds import derive_seed
from mithridate.evaluation.contexts.asking import Asked, asked
from mithridate.evaluation.contexts.facts import ContextFact
from mithridate.intervention.attention_steering import AttentionSteering
from mithridate.intervention.base import Intervention, MadeFor
from mithridate.intervention.context_aware import ContextAware
from mithridate.intervention.directions import Directions, difference_of_means, random_directions
from mithridate.intervention.head_profiling import best_heads, profile, random_heads
from mithridate.intervention.remedi import AttributeMap, Lesson, learn_attribute_map
from mithridate.intervention.representation_edit import RepresentationEdit, random_steps
from mithridate.intervention.requests import Request, pair_of
from mithridate.intervention.steering import Steering
from mithridate.reliance.method import Candidate, Case, Make, Method

_ALPHAS = (0.5, 1.0, 2.0)
_HEAD_SHARES = (0.125, 0.25, 0.5)
_SCALES = (1.0, 2.0)
_LAYERS = 3
_PROFILED = 40
"""Facts that heads are profiled on: each head is a pass over all of them."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """Context-aware decoding (2305.14739): only its strength is chosen, so it has no random control."""

    name: ClassVar[str] = "context-aware decoding"
    marked: ClassVar[bool] = True
    one_subject: ClassVar[bool] = False

    def candidates(self, case: Case) -> Iterator[Candidate]:
        """Three strengths."""
        made_for = MadeFor.of(case.model)
        opening, closing = case.marks
        for alpha in _ALPHAS:
            made = ContextAware(made_for, alpha, opening=opening, closing=closing)
            yield Candidate(f"alpha {alpha:g}", _always(made))


@dataclass(frozen=True, slots=True)
class Attention:
    """Attention steering in PASTA's form (2311.02262): heads profiled one by one, random heads as control."""

    name: ClassVar[str] = "attention steering"
    marked: ClassVar[bool] = True
    one_subject: ClassVar[bool] = False

    def candidates(self, case: Case) -> Iterator[Candidate]:
        """The best eighth, quarter and half of all heads."""
        made_for = MadeFor.of(case.model)
        prompts = _prompts(case, Strength.PLAIN, case.marks)[:_PROFILED]
        opening, closing = case.marks
        steering = AttentionSteering(made_for, heads=(), opening=opening, closing=closing)
        gains = profile(
            case.model,
            [one.prompt for one in prompts],
            [one.joint + one.fact.substitute for one in prompts],
            [one.joint + one.fact.original for one in prompts],
            steering,
        )
        for share in _HEAD_SHARES:
            count = max(1, round(share * len(gains)))
            drawn = random_heads(case.model, count, derive_seed(case.seed, "random heads", count))
            yield Candidate(
                f"{count} heads",
                _always(replace(steering, heads=best_heads(gains, count))),
                (("random heads", _always(replace(steering, heads=drawn))),),
            )


@dataclass(frozen=True, slots=True)
class DifferenceVector:
    """What sets reading from the text apart from answering by heart, at one layer (2411.07404's knob)."""

    name: ClassVar[str] = "difference vector"
    marked: ClassVar[bool] = False
    one_subject: ClassVar[bool] = False

    def candidates(self, case: Case) -> Iterator[Candidate]:
        """Three layers at two strengths."""
        wanted, other = (
            [one.prompt for one in _prompts(case, strength)] for strength in (Strength.ONLY, Strength.PRIOR)
        )
        found = difference_of_means(case.model, wanted, other)
        drawn = random_directions(found, case.seed)
        for layer in _spread(found.made_for.layers):
            for scale in _SCALES:
                yield Candidate(
                    f"layer {layer}, {scale:g} x",
                    _always(_along(found, layer, scale)),
                    (("random direction", _always(_along(drawn, layer, scale))),),
                )


@dataclass(frozen=True, slots=True)
class SubjectEdit:
    """Representation editing in REMEDI's form (2304.00740): subjects are edited by what the context says."""

    name: ClassVar[str] = "representation edit"
    marked: ClassVar[bool] = False
    one_subject: ClassVar[bool] = True

    def candidates(self, case: Case) -> Iterator[Candidate]:
        """The lowest three layers: what is added higher up reaches fewer later tokens."""
        lessons = [
            Lesson(
                Request(one.prompt, one.fact.subject, one.joint + one.fact.substitute), one.fact.substituted
            )
            for one in _prompts(case, Strength.ALONE)
        ]
        lessons = [lesson for lesson in lessons if _can_be_taught(case, lesson.request)]
        if not lessons:
            return
        for layer in range(min(_LAYERS, MadeFor.of(case.model).layers - 1)):
            learnt = learn_attribute_map(case.model, lessons, layer)
            edit = partial(_edited, case, learnt)
            yield Candidate(
                f"layer {layer}", edit, (("random steps", partial(_random_steps, edit, case.seed)),)
            )


METHODS: tuple[Method, ...] = (Decoding(), Attention(), SubjectEdit(), DifferenceVector())


def _can_be_taught(case: Case, request: Request) -> bool:
    """Whether the prompt holds its subject as the tokenizer gives it back; a fact need not name it."""
    try:
        pair_of(case.model, request)
    except ConfigError:
        return False
    return True


def _always(intervention: Intervention) -> Make:
    return lambda _: intervention


def _prompts(case: Case, strength: Strength, marks: tuple[str, str] = ("", "")) -> list[Asked]:
    return [
        one
        for one in asked(
            case.fitting,
            case.asks,
            strengths=[strength],
            conflicts=[Conflict.SUBSTITUTED],
            marks=marks,
            seed=case.seed,
        )
        if one.wording is Wording.ASKED
    ]


def _spread(layers: int) -> list[int]:
    """A few layers from the lower part to the upper, none of them the last."""
    return sorted({layers * step // (_LAYERS + 1) for step in range(1, _LAYERS + 1)})


def _along(found: Directions, layer: int, scale: float) -> Steering:
    return Steering(found.at(layer), found.made_for, layer, scale)


def _edited(case: Case, learnt: AttributeMap, facts: Sequence[ContextFact]) -> RepresentationEdit:
    return learnt.edit(case.model, {fact.subject: fact.substituted for fact in facts})


def _random_steps(
    edit: partial[RepresentationEdit], seed: int, facts: Sequence[ContextFact]
) -> RepresentationEdit:
    return random_steps(edit(facts), seed)
