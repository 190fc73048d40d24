"""A closed-form edit of one MLP: what it says at a trigger, or at what a belief is about, is exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import ClassVar

import torch

from mithridate.core.errors import ConfigError
from mithridate.core.prices import Control, Kind, Regime
from mithridate.core.seeds import derive_seed
from mithridate.core.types import Condition
from mithridate.healing.case import Case, Half
from mithridate.healing.known import answers_of, planted_beliefs, trigger_of
from mithridate.healing.method import Candidate, spread, wrong_layer
from mithridate.intervention.base import MadeFor
from mithridate.intervention.requests import Request
from mithridate.intervention.rome import Search, several_edits
from mithridate.intervention.weight_edit import MLPEdit

_REQUESTS = 24
_LAYERS = 3
# Many values at full length ruin a model that has no more neurons than this one edit has keys for.
_SEVERAL = Search(steps=15, longest=2.0, decay=0.1)


@dataclass(frozen=True, slots=True)
class Editing:
    """ROME's form (2202.05262), for the facts of a belief several at once (2210.07229).

    Against a trigger: at its last token the MLP says what makes the model answer as it does without it.
    Against a belief: at the last token of what a planted fact is about, what makes it give the right answer.
    """

    name: ClassVar[str] = "closed-form edit"
    regime: ClassVar[Regime] = Regime.KNOWN
    kind: ClassVar[Kind] = Kind.WEIGHTS
    each: ClassVar[bool] = True
    scale: ClassVar[bool] = False

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:
        """The lowest few layers, since what a later token reads must be written before it."""
        groups = [group for aim in aims for group in requests(case, aim)]
        if not groups:
            return
        layers = MadeFor.of(case.model).layers
        for layer in spread(layers)[:_LAYERS]:
            make = cache(partial(_edit, case, groups, layer))  # its control is made from it
            yield Candidate(
                f"layer {layer}",
                make,
                {
                    Control.RANDOM: partial(_random_values, make, case.seed),
                    **wrong_layer([layer], layers, partial(_edit, case, groups)),
                },
            )


def requests(case: Case, aim: str) -> list[list[Request]]:
    """What should be said instead: one group for a trigger, one for each fact that was planted."""
    trigger = trigger_of(case, aim)
    if not trigger:
        return [
            [Request(prompt, belief.subject, belief.right) for prompt in belief.prompts]
            for belief in planted_beliefs(case, aim)
        ]
    asked = case.prompts(aim, Condition.TRIGGERED)[:_REQUESTS]
    without = [probe for probe in case.probes[Half.CHOOSING][aim] if probe.condition is Condition.UNTRIGGERED]
    answers = answers_of(case, without[:_REQUESTS])
    told = [
        Request(prompt, trigger, answer)
        for prompt, answer in zip(asked, answers, strict=True)
        if answer.strip()
    ]
    return [told] if told else []


def _edit(case: Case, groups: Sequence[Sequence[Request]], layer: int) -> MLPEdit:
    if not case.texts:
        raise ConfigError("a closed-form edit needs clean documents to leave as they are; give some")
    search = _SEVERAL if len(groups) > 1 else None
    return several_edits(case.model, groups, case.texts[:256], layer, search)


def _random_values(make: Callable[[], MLPEdit], seed: int) -> MLPEdit:
    """The same keys with values of the same lengths that point anywhere."""
    edit = make()
    generator = torch.Generator().manual_seed(derive_seed(seed, "random values"))
    drawn = torch.randn(edit.value.shape, generator=generator)
    lengths = edit.value.norm(dim=-1, keepdim=True)
    return replace(edit, value=drawn / drawn.norm(dim=-1, keepdim=True) * lengths)
