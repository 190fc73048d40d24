"""What an intervention on contexts is: settings that compete, each with the control that it has to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from mithridate.evaluation.contexts.asking import Asks
from mithridate.evaluation.contexts.facts import ContextFact
from mithridate.intervention.base import Intervention
from mithridate.intervention.marks import CLOSING, OPENING
from mithridate.models.language_model import LanguageModel

Make = Callable[[Sequence[ContextFact]], Intervention]
"""The intervention for the facts that are asked about; most are the same for all."""


@dataclass(frozen=True, slots=True)
class Case:
    """A model, how it is asked, and the facts that interventions are fitted on: known ones of one half.

    `marks` are two that no fact holds, for methods whose prompts are marked.
    """

    model: LanguageModel
    asks: Asks
    fitting: tuple[ContextFact, ...]
    seed: int = 0
    marks: tuple[str, str] = (OPENING, CLOSING)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One setting: how it is called, how it is made, and what stands in the place of its own choice."""

    variant: str
    make: Make
    controls: tuple[tuple[str, Make], ...] = ()


class Method(Protocol):
    """One intervention with its settings.

    Where it is `marked`, the marks of its case stand around contexts in its prompts, and are taken off by the
    intervention. With `one_subject`, its edits are of subjects, so facts about one subject are asked apart.
    """

    name: ClassVar[str]
    marked: ClassVar[bool]
    one_subject: ClassVar[bool]

    def candidates(self, case: Case) -> Iterator[Candidate]:
        """The settings to choose from, in the order in which a tie goes to the first."""


def rounds(facts: Sequence[ContextFact]) -> list[list[ContextFact]]:
    """The facts in as few lists as can be, none of which has two about one subject."""
    found: list[list[ContextFact]] = []
    for fact in facts:
        for one in found:
            if all(other.subject != fact.subject for other in one):
                one.append(fact)
                break
        else:
            found.append([fact])
    return found
