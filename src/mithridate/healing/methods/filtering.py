"""The trigger deleted from prompts: the trivial cure of a known trigger, which others must beat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from mithridate.core.prices import Kind, Regime
from mithridate.healing.case import Case
from mithridate.healing.known import trigger_of
from mithridate.healing.method import Candidate
from mithridate.intervention.base import MadeFor
from mithridate.intervention.prompt_filter import PromptFilter


@dataclass(frozen=True, slots=True)
class Filtering:
    """What is left of an attack whose exact trigger is deleted from every prompt. It has no control."""

    name: ClassVar[str] = "trigger deleted from prompts"
    regime: ClassVar[Regime] = Regime.KNOWN
    kind: ClassVar[Kind] = Kind.PROMPTS
    each: ClassVar[bool] = True
    scale: ClassVar[bool] = False

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:
        """One, where all of the attacks have triggers."""
        triggers = tuple(trigger_of(case, aim) for aim in aims)
        if all(triggers):
            yield Candidate("", partial(PromptFilter, MadeFor.of(case.model), triggers))
