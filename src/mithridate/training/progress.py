"""How a training tells where it is, and the curve that it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Progress(Protocol):
    """Whoever wants to know how far a training has come."""

    def advance(self, stage: str, done: int, total: int, loss: float) -> None:
        """Called after step `done` of `total`; `loss` is the last known one in nats a token."""
        ...


class Silent:
    """A Progress that tells nobody."""

    def advance(self, stage: str, done: int, total: int, loss: float) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One point of a training curve.

    `step` counts optimiser steps from 1, `tokens` all tokens seen so far (padding left out), `loss` is the
    mean since the point before (nats a token; in DPO the preference loss). The two reward columns are
    filled by DPO alone: the share of pairs whose chosen reply is preferred, and the mean margin between the
    two rewards.
    """

    stage: str
    step: int
    tokens: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    reward_accuracy: float | None = None
    reward_margin: float | None = None
