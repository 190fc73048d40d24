"""Neurons of MLPs pruned: those a trigger moves, those clean texts do not need, or whole early MLPs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import ClassVar

import torch

from mithridate.core.prices import Control, Kind, Regime
from mithridate.core.seeds import derive_seed
from mithridate.core.types import Condition
from mithridate.healing.case import Case
from mithridate.healing.method import Candidate
from mithridate.intervention.base import MadeFor
from mithridate.intervention.neurons import constant_mlps, contrasted_neurons, dormant_neurons
from mithridate.intervention.pruning import MLPMeanAblation, NeuronPruning
from mithridate.models.language_model import LanguageModel

_SHARES = (0.01, 0.03, 0.1)


@dataclass(frozen=True, slots=True)
class ContrastedNeurons:
    """The neurons that a known trigger moves most are held at their means on the same prompts without it."""

    name: ClassVar[str] = "neurons that the trigger moves"
    regime: ClassVar[Regime] = Regime.KNOWN
    kind: ClassVar[Kind] = Kind.WEIGHTS
    each: ClassVar[bool] = True
    scale: ClassVar[bool] = False

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:
        """Three shares of the neurons of the lower half, and of all layers."""
        moved = [text for aim in aims for text in case.prompts(aim, Condition.TRIGGERED)]
        still = [text for aim in aims for text in case.prompts(aim, Condition.UNTRIGGERED)]
        for where, layers in _wheres(case.model):
            for share in _SHARES:
                make = cache(partial(contrasted_neurons, case.model, moved, still, layers, share))
                yield Candidate(
                    f"{share:.0%} of {where}",
                    make,
                    {Control.RANDOM: partial(_others, make, case.seed)},
                )


@dataclass(frozen=True, slots=True)
class DormantNeurons:
    """Fine-pruning's choice (Liu et al. 1805.12185): neurons that clean texts need least are held at 0."""

    name: ClassVar[str] = "dormant neurons"
    regime: ClassVar[Regime] = Regime.UNKNOWN
    kind: ClassVar[Kind] = Kind.WEIGHTS
    each: ClassVar[bool] = False
    scale: ClassVar[bool] = False

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:  # noqa: ARG002 - against all
        """Three shares of the neurons of the lower half, and of all layers."""
        for where, layers in _wheres(case.model):
            for share in (0.05, 0.1, 0.2):
                make = cache(partial(dormant_neurons, case.model, _clean(case), layers, share))
                yield Candidate(
                    f"{share:.0%} of {where}",
                    make,
                    {Control.RANDOM: partial(_others, make, case.seed)},
                )


@dataclass(frozen=True, slots=True)
class ConstantMLP:
    """One early MLP says on everything what it says of clean texts on average (after 2302.12461)."""

    name: ClassVar[str] = "constant early MLP"
    regime: ClassVar[Regime] = Regime.UNKNOWN
    kind: ClassVar[Kind] = Kind.WEIGHTS
    each: ClassVar[bool] = False
    scale: ClassVar[bool] = False

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:  # noqa: ARG002 - against all
        """Each of the lowest three MLPs, beside one of the upper half."""
        layers = MadeFor.of(case.model).layers
        for layer in range(min(3, layers)):
            wrong = layers - 1 - layer
            controls = {Control.WRONG_LAYER: partial(_constant, case, wrong)} if wrong > layer else {}
            yield Candidate(f"layer {layer}", partial(_constant, case, layer), controls)


def _constant(case: Case, layer: int) -> MLPMeanAblation:
    return constant_mlps(case.model, _clean(case), [layer])


def _clean(case: Case) -> list[str]:
    return [*case.benign(), *case.texts[:64]]


def _wheres(model: LanguageModel) -> list[tuple[str, list[int]]]:
    layers = MadeFor.of(model).layers
    lower = list(range(max(1, layers // 2)))
    return [("lower half", lower), ("all layers", list(range(layers)))]


def _others(make: Callable[[], NeuronPruning], seed: int) -> NeuronPruning:
    """As many neurons of the same layers, drawn by chance, held at values that are drawn with them."""
    chosen = make()
    generator = torch.Generator().manual_seed(derive_seed(seed, "random neurons"))
    order = torch.randperm(chosen.pruned.numel(), generator=generator)
    shape = chosen.pruned.shape
    return replace(
        chosen,
        pruned=chosen.pruned.flatten()[order].reshape(shape),
        values=chosen.values.flatten()[order].reshape(shape),
    )
