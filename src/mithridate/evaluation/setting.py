"""Where a figure comes from: the part of a row that all rows of one evaluation share."""

from __future__ import annotations

from dataclasses import dataclass

from mithridate.core.statistics import Interval
from mithridate.core.types import Measurement, TemplateUse


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
