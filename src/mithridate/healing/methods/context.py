"""Context-aware decoding: what a prompt states is weighed more; without a stated context, nothing changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from mithridate.core.prices import Kind, Regime
from mithridate.healing.case import Case
from mithridate.healing.method import Candidate
from mithridate.intervention.base import MadeFor
from mithridate.intervention.context_aware import ContextAware
from mithridate.intervention.marks import unused_marks


@dataclass(frozen=True, slots=True)
class ContextAdded:
    """Shi et al. 2305.14739, at two strengths. It takes out no attack: what counts is whether a right
    statement in the prompt is followed."""

    name: ClassVar[str] = "context-aware decoding"
    regime: ClassVar[Regime] = Regime.UNKNOWN
    kind: ClassVar[Kind] = Kind.DECODING
    each: ClassVar[bool] = False
    scale: ClassVar[bool] = True

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:  # noqa: ARG002 - against none
        """The published strength, and twice that."""
        opening, closing = _marks(case)
        made_for = MadeFor.of(case.model)
        for alpha in (0.5, 1.0):
            make = partial(ContextAware, made_for, alpha, opening=opening, closing=closing)
            yield Candidate(f"alpha {alpha:g}", make)


def _marks(case: Case) -> tuple[str, str]:
    """Marks of a context that nothing holds which the model is asked: poison may be written with any."""
    useful = case.usefulness
    said = [probe.foil for half in case.probes.values() for probes in half.values() for probe in probes]
    said += [
        message.content
        for half in case.probes.values()
        for probes in half.values()
        for probe in probes
        for message in probe.messages
    ]
    said += [*(question for question, _ in useful.questions), *useful.harmless, *useful.forbidden]
    return unused_marks(said)
