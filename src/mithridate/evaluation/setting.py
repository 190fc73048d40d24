"""Where a figure comes from: the part of a row that all rows of one evaluation share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mithridate.core.chat import ChatTemplate
from mithridate.core.types import Measurement, Message
from mithridate.core.statistics import Interval


@dataclass(frozen=True, slots=True)
class Setting:
    """Which model is asked, and how.

    `template` is "same" where the model is asked in the templates that were planted, "transferred" where in
    that of the later SFT; `dose` and `cell` as in `Measurement`.
    """

    stage: str
    arm: str
    seed: int
    template: str = "same"
    dose: str = ""
    cell: str = ""

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
    if not isinstance(template, ChatTemplate):
        return ()
    end, opening = template.assistant[1], template.user[0].strip()
    joint = "\n" if end.endswith("\n") and opening else ""
    return tuple(dict.fromkeys(text for text in (end.strip(), joint + opening) if text))
