"""What all rows of one experiment have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mithridate.core.located import Experiment, Located, Metric, Pair


@dataclass(frozen=True, slots=True)
class About:
    """Whose figures they are: the fields of `Located` that do not differ within an experiment."""

    pair: Pair
    seed: int = 0
    cell: str = ""
    dose: str = ""
    model: str = ""
    stage: str = ""
    template: str = ""

    def row(
        self,
        experiment: Experiment,
        behaviour: str,
        metric: Metric,
        value: float,
        low: float | None = None,
        high: float | None = None,
        n: int = 1,
        **place: Any,
    ) -> Located:
        """One figure; `place` gives the fields that say which layers, modules or positions it is about."""
        shared: dict[str, Any] = {
            "pair": self.pair,
            "seed": self.seed,
            "cell": self.cell,
            "dose": self.dose,
            "model": self.model,
            "stage": self.stage,
            "template": self.template,
        }
        return Located(
            experiment=experiment,
            behaviour=behaviour,
            metric=metric,
            value=float(value),
            low=low,
            high=high,
            n=n,
            **shared | place,
        )
