"""Neurons of MLPs, or whole MLPs, held at one value: what they said of a text is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch

from mithridate.core.errors import AccessError, ConfigError
from mithridate.intervention.base import MadeFor
from mithridate.intervention.folding import copy_of
from mithridate.models.hooks import map_everywhere, map_given
from mithridate.models.language_model import LanguageModel
from mithridate.models.projections import Projection, projections
from mithridate.models.sites import Part, Site


@dataclass(frozen=True, slots=True, eq=False)
class NeuronPruning:
    """Neurons of the MLPs in `layers`, held at `values`.

    `pruned` and `values` have the shape (layers, neurons): which neurons, true or false, and what each is
    held at: 0, or its mean over clean texts (mean ablation). A neuron is one of the numbers that an MLP's
    last matrix is given. `neurons` says how they are chosen.

    Raises ConfigError for layers that are not there, other shapes, and where nothing is pruned.
    """

    name: ClassVar[str] = "neuron_pruning"

    pruned: torch.Tensor
    values: torch.Tensor
    made_for: MadeFor
    layers: tuple[int, ...]

    def __post_init__(self) -> None:
        self.made_for.require_layers(self.layers, self.name)
        shape = tuple(self.pruned.shape)
        if self.pruned.dtype != torch.bool or len(shape) != 2 or shape[0] != len(self.layers):
            raise ConfigError(
                f"{self.name}: which neurons are pruned is a tensor of {self.pruned.dtype} and the shape "
                f"{shape}; expected true or false of the shape ({len(self.layers)}, neurons)"
            )
        self.made_for.require_tensor(self.values, shape, self.name)
        if not bool(self.pruned.any()):
            raise ConfigError(f"{self.name}: no neuron is pruned; choose a greater share")

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """`model` with the neurons held; errors as for any intervention, and for MLPs of another size."""
        self.made_for.require(model, self.name)
        written = self._projections(model)
        held = [_Holding(*pair) for pair in zip(self.pruned, self.values, strict=True)]
        with map_given({found.module: hold for found, hold in zip(written, held, strict=True)}):
            yield model

    def fold(self, model: LanguageModel) -> LanguageModel:
        """A copy whose last matrices read nothing of the neurons; what they are held at is in the biases.

        Raises AccessError where neurons are held at other than 0 and the MLPs have no biases.
        """
        self.made_for.require(model, self.name)
        made = copy_of(model)
        written = self._projections(made)
        with torch.no_grad():
            for projection, pruned, values in zip(written, self.pruned, self.values, strict=True):
                matrix = projection.matrix()
                chosen = pruned.to(matrix.device)
                constant = matrix.double()[:, chosen] @ values.to(matrix.device).double()[chosen]
                add_constant(projection, constant, self.name)
                matrix[:, chosen] = 0
        return made

    def _projections(self, model: LanguageModel) -> list[Projection]:
        sites = [Site(layer, Part.MLP) for layer in self.layers]
        found = projections(model.model, sites)
        for site in sites:
            if found[site].inputs != self.pruned.shape[1]:
                raise AccessError(
                    f"{self.name} was made for MLPs of {self.pruned.shape[1]} neurons; the {site} has "
                    f"{found[site].inputs}. Make it anew from this model"
                )
        return [found[site] for site in sites]


@dataclass(frozen=True, slots=True, eq=False)
class MLPMeanAblation:
    """What the MLPs in `layers` add to the stream, replaced by `means`, of shape (layers, width).

    Mean ablation of whole early MLPs, which carry backdoors in toy models (Lamparth & Reuel 2302.12461).
    Raises ConfigError for layers that are not there and other shapes.
    """

    name: ClassVar[str] = "mlp_mean_ablation"

    means: torch.Tensor
    made_for: MadeFor
    layers: tuple[int, ...]

    def __post_init__(self) -> None:
        self.made_for.require_layers(self.layers, self.name)
        self.made_for.require_tensor(self.means, (len(self.layers), self.made_for.width), self.name)

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """`model` with constant MLPs; errors as for any intervention."""
        self.made_for.require(model, self.name)
        functions = {
            Site(layer, Part.MLP): _Constant(mean)
            for layer, mean in zip(self.layers, self.means, strict=True)
        }
        with map_everywhere(model.model, functions):
            yield model

    def fold(self, model: LanguageModel) -> LanguageModel:
        """A copy whose MLPs have nothing but a bias.

        Raises AccessError where they have none (Llama, Qwen 3), or a norm stands behind them.
        """
        self.made_for.require(model, self.name)
        made = copy_of(model)
        sites = [Site(layer, Part.MLP) for layer in self.layers]
        written = projections(made.model, sites)
        with torch.no_grad():
            for site, mean in zip(sites, self.means, strict=True):
                projection = written[site]
                projection.matrix().zero_()
                if projection.bias is not None:
                    projection.bias.zero_()
                add_constant(projection, mean.double(), self.name)
        return made


def add_constant(projection: Projection, constant: torch.Tensor, what: str) -> None:
    """Add a vector of shape (width,) to the bias of `projection`.

    Raises AccessError where there is none, unless the vector is 0.
    """
    if projection.bias is not None:
        projection.bias.copy_(projection.bias.double() + constant.to(projection.bias.device))
    elif bool(constant.any()):
        raise AccessError(
            f"{what} cannot be folded into weights: it adds a constant to the stream, and the MLPs of this "
            "architecture have no biases to hold it. Hold neurons at 0, or use it at runtime"
        )


@dataclass(frozen=True, slots=True)
class _Holding:
    """What an MLP's last matrix is given, with some neurons at their values."""

    pruned: torch.Tensor
    values: torch.Tensor

    def __call__(self, given: torch.Tensor) -> torch.Tensor:
        return torch.where(self.pruned.to(given.device), self.values.to(given), given)


@dataclass(frozen=True, slots=True)
class _Constant:
    value: torch.Tensor

    def __call__(self, made: torch.Tensor) -> torch.Tensor:
        return self.value.to(made).expand_as(made)
