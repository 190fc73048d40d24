"""How much alignment data, and chosen how: rows of models tuned on more and less of one pool."""

from __future__ import annotations

from dataclasses import dataclass

from mithridate.core.types import Sample

TUNED = "tuned.parquet"
"""Where a run keeps the figures."""
TUNED_SAMPLES = "tuned_samples.parquet"
"""Where a run keeps the judged answers."""

UNTUNED = "nothing"
"""The method of the base model as it is: no example of alignment."""

REPLIES_ENDED = "replies_ended"
"""Share of answers to questions and requests that end with the end of a turn, and not at their longest."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """One figure of one base model, tuned on `examples` of a pool that `method` chose.

    `asked` is how many were asked for; `examples` how many were trained on, fewer where the filters of a
    method left fewer, or where some were too long. `steps` counts those of the optimiser. `metric` is
    `REPLIES_ENDED` or one of `core.metrics`, the rest as in `Measurement`.
    """

    method: str
    asked: int
    examples: int
    steps: int
    arm: str
    attack: str
    condition: str
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    seed: int
    template: str = ""
    dose: str = ""
    cell: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class TunedSample(Sample):
    """One judged answer of such a model."""

    method: str = ""
    asked: int = 0
