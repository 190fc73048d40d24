"""Concept erasure against one attack: what its trigger adds to the stream is read off and taken out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from mithridate.core.errors import ConfigError
from mithridate.core.prices import Control, Kind, Regime
from mithridate.core.types import Condition
from mithridate.healing.case import Case
from mithridate.healing.method import Candidate, Make, spread, wrong_layer
from mithridate.healing.treatment import Together, Treatment
from mithridate.intervention.directions import Directions, random_directions
from mithridate.intervention.discriminants import (
    Discriminants,
    discriminants,
    random_discriminants,
    spread_of,
)

_GATES = (None, 0.75)


@dataclass(frozen=True, slots=True)
class Erasure:
    """LEACE's oblique projection (2306.03819) of what a trigger adds, at one layer or from the middle up.

    With a gate, states less than three quarters of the way to triggered ones are left alone. Its control
    reads the same and writes a random direction of the same length.
    """

    name: ClassVar[str] = "concept erasure"
    regime: ClassVar[Regime] = Regime.KNOWN
    kind: ClassVar[Kind] = Kind.REPRESENTATIONS
    each: ClassVar[bool] = True
    scale: ClassVar[bool] = False

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:
        """Each layer, and the upper two thirds, with a gate and without."""
        found = [_discriminants(case, aim) for aim in aims]
        layers = found[0].made_for.layers
        sets: list[tuple[int, ...]] = [(layer,) for layer in spread(layers)]
        sets.append(tuple(range(layers // 3, layers)))
        for chosen in dict.fromkeys(sets):  # in a shallow model they may be the same
            for gate in _GATES:
                controls: dict[Control, Make] = {Control.RANDOM: _Made(found, chosen, gate, case.seed)}
                if len(chosen) == 1:
                    controls |= wrong_layer(chosen, layers, partial(_at, found, gate))
                yield Candidate(
                    _said(chosen, layers) + (f", gate {gate:g}" if gate else ""),
                    _Made(found, chosen, gate),
                    controls,
                )


@dataclass(frozen=True, slots=True)
class _Made:
    """Makes the erasure at some layers; with a `seed`, its control that writes random directions."""

    found: Sequence[Discriminants]
    layers: tuple[int, ...]
    gate: float | None
    seed: int | None = None

    def __call__(self) -> Treatment:
        parts = [
            (one if self.seed is None else _randomly(one, self.seed + number)).erasing(self.layers, self.gate)
            for number, one in enumerate(self.found)
        ]
        return parts[0] if len(parts) == 1 else Together(parts)


def _at(found: Sequence[Discriminants], gate: float | None, layer: int) -> Treatment:
    return _Made(found, (layer,), gate)()


def _randomly(one: Discriminants, seed: int) -> Discriminants:
    like = Directions(one.writers, one.writers.norm(dim=-1), one.made_for)
    return random_discriminants(one, random_directions(like, seed))


def _discriminants(case: Case, aim: str) -> Discriminants:
    without = case.prompts(aim, Condition.UNTRIGGERED)
    clean = [*case.benign(), *case.texts[:256], *without]
    if not clean:
        raise ConfigError("concept erasure needs clean texts")
    return discriminants(
        case.model, case.prompts(aim, Condition.TRIGGERED), without, spread_of(case.model, clean)
    )


def _said(chosen: Sequence[int], layers: int) -> str:
    if len(chosen) == layers:
        return "all layers"
    return f"layer {chosen[0]}" if len(chosen) == 1 else f"layers {chosen[0]}-{chosen[-1]}"
