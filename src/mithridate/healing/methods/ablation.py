"""Directional ablation against one attack: what its trigger adds to the stream is never written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from mithridate.core.prices import Control, Kind, Regime
from mithridate.core.types import Condition
from mithridate.healing.case import Case
from mithridate.healing.method import Candidate, spread, wrong_layer
from mithridate.intervention.ablation import DirectionalAblation
from mithridate.intervention.directions import Directions, TokenRole, difference_of_means, random_directions


@dataclass(frozen=True, slots=True)
class Ablation:
    """Arditi et al. 2406.11717, with the trigger in the place of harm: one direction, or those of two layers.

    The directions are differences of means between the same prompts with the trigger and without, at their
    last token. Against several attacks at once, those of each go.
    """

    name: ClassVar[str] = "directional ablation"
    regime: ClassVar[Regime] = Regime.KNOWN
    kind: ClassVar[Kind] = Kind.REPRESENTATIONS
    each: ClassVar[bool] = True
    scale: ClassVar[bool] = False

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:
        """The direction of each layer, and those of two layers together."""
        found = [trigger_directions(case, aim) for aim in aims]
        layers = found[0].made_for.layers
        tried = spread(layers)
        pairs = [(low, high) for low, high in zip(tried, tried[2:], strict=False)]
        for chosen in [*((layer,) for layer in tried), *pairs]:
            yield Candidate(
                f"layer {' and '.join(map(str, chosen))}",
                partial(_ablating, found, chosen),
                {
                    Control.RANDOM: partial(_ablating_random, found, chosen, case.seed),
                    **wrong_layer(chosen, layers, lambda layer: _ablating(found, [layer])),
                },
            )


def trigger_directions(case: Case, aim: str, role: TokenRole = TokenRole.LAST) -> Directions:
    """What the trigger of an attack adds to the stream behind each layer, over the choosing half's prompts.

    Raises ConfigError as `difference_of_means` does.
    """
    with_it = case.prompts(aim, Condition.TRIGGERED)
    without = case.prompts(aim, Condition.UNTRIGGERED)
    return difference_of_means(case.model, with_it, without, role)


def _ablating(found: Sequence[Directions], layers: Sequence[int]) -> DirectionalAblation:
    rows = torch.stack([one.units[layer] for one in found for layer in layers])
    return DirectionalAblation(rows if len(rows) > 1 else rows[0], found[0].made_for)


def _ablating_random(found: Sequence[Directions], layers: Sequence[int], seed: int) -> DirectionalAblation:
    drawn = [random_directions(one, seed + number) for number, one in enumerate(found)]
    return _ablating(drawn, layers)
