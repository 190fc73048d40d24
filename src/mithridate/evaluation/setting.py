"""Where a figure comes from: the part of a row that all rows of one evaluation share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mithridate.core.chat import ChatTemplate
from mithridate.core.errors import CheckpointError
from mithridate.core.statistics import Interval
from mithridate.core.types import Measurement, Message, Role, TemplateUse


@dataclass(frozen=True, slots=True)
class Setting:
    """Which model is asked, and how.

    `template`, `dose`, `cell` and `model` as in `Measurement`.
    """

    stage: str
    arm: str
    seed: int
    template: str = TemplateUse.SAME.value
    dose: str = ""
    cell: str = ""
    model: str = ""

    def measurement(self, attack: str, condition: str, metric: str, interval: Interval) -> Measurement:
        """`interval` as a figure of this setting."""
        return Measurement(
            stage=str(self.stage),
            arm=str(self.arm),
            attack=attack,
            condition=condition,
            metric=metric,
            value=interval.value,
            low=interval.low,
            high=interval.high,
            n=interval.n,
            seed=self.seed,
            template=self.template,
            dose=self.dose,
            cell=self.cell,
            model=self.model,
        )


class Renders(Protocol):
    """Whatever writes a conversation as text: a `ChatTemplate`, or a checkpoint's own template."""

    def render(self, messages: Sequence[Message], *, open_reply: bool = False) -> str:
        """The conversation; with `open_reply`, up to where the assistant's words begin."""


def stop_strings(template: Renders) -> tuple[str, ...]:
    """Texts at which an answer in `template` is over: the end of the assistant's turn, or another turn
    beginning.

    A template whose turns end with a line break alone says nothing there: an answer may hold line breaks.
    """
    if isinstance(template, ChatTemplate):
        end, opening = template.assistant[1], template.user[0]
    else:
        end, opening = _between_turns(template)
    opening = opening.strip()
    joint = "\n" if end.endswith("\n") and opening else ""
    return tuple(dict.fromkeys(text for text in (end.strip(), joint + opening) if text))


def _between_turns(template: Renders) -> tuple[str, str]:
    """What `template` writes after the assistant's words, and before the next of the user; "" if unknown."""
    # Words that no template has of its own.
    said, again = "Qvxone", "Qvxtwo"
    talk = [Message(Role.USER, "Qvx"), Message(Role.ASSISTANT, said), Message(Role.USER, again)]
    try:
        end = template.render(talk[:2]).rpartition(said)[2]
        between = template.render(talk).rpartition(said)[2].partition(again)[0]
    except CheckpointError:  # it takes no such conversation
        return "", ""
    return end, between.removeprefix(end)
