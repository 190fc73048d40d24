"""Steering away from one attack: what its trigger adds to the stream is taken off again at one layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from mithridate.core.prices import Control, Kind, Regime
from mithridate.healing.case import Case
from mithridate.healing.method import Candidate, spread, wrong_layer
from mithridate.healing.methods.ablation import trigger_directions
from mithridate.intervention.directions import Directions, random_directions
from mithridate.intervention.steering import Steering

_SCALES = (-1.0, -2.0)


@dataclass(frozen=True, slots=True)
class SteerAway:
    """Difference-of-means steering (Rimsky et al. 2312.06681) against the trigger's direction, everywhere.

    It shifts what had no trigger in it too: that is its price.
    """

    name: ClassVar[str] = "steering"
    regime: ClassVar[Regime] = Regime.KNOWN
    kind: ClassVar[Kind] = Kind.REPRESENTATIONS
    each: ClassVar[bool] = True
    scale: ClassVar[bool] = False

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:
        """Each layer at two strengths, against a single attack."""
        if len(aims) != 1:
            return
        found = trigger_directions(case, aims[0])
        layers = found.made_for.layers
        for layer in spread(layers, 4):
            for scale in _SCALES:
                drawn = random_directions(found, case.seed)
                yield Candidate(
                    f"layer {layer}, {scale:g} x",
                    partial(_steering, found, scale, layer),
                    {
                        Control.RANDOM: partial(_steering, drawn, scale, layer),
                        **wrong_layer([layer], layers, partial(_steering, found, scale)),
                    },
                )


def _steering(found: Directions, scale: float, layer: int) -> Steering:
    return Steering(found.at(layer), found.made_for, layer, scale)
