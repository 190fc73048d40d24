"""Steering: a direction added to the residual stream at one layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from mithridate.core.errors import ConfigError
from mithridate.intervention.base import MadeFor, unit
from mithridate.models.hooks import Edit, map_everywhere, replace
from mithridate.models.language_model import LanguageModel
from mithridate.models.passes import Context
from mithridate.models.patches import add_direction
from mithridate.models.sites import Part, Site


@dataclass(frozen=True, slots=True, eq=False)
class Steering:
    """`scale` times `direction`, of shape (width,) and as long as it is, added behind block `layer`.

    Activation addition (Turner et al. 2308.10248; Rimsky et al. 2312.06681 for a difference of means). A
    negative scale takes a behaviour away that the direction stands for. At `all` positions, those of the
    answer among them, or at those of the `prompt` alone; with a scale of 0 the model is as it was.

    Raises ConfigError for a direction of norm zero or another width, a layer that is not there, or a scale
    that is no number.
    """

    name: ClassVar[str] = "steering"

    direction: torch.Tensor
    made_for: MadeFor
    layer: int
    scale: float = -1.0
    positions: Literal["all", "prompt"] = "all"

    def __post_init__(self) -> None:
        self.made_for.require_tensor(self.direction, (self.made_for.width,), self.name)
        unit(self.direction, self.name)
        self.made_for.require_layers([self.layer], self.name)
        if not abs(self.scale) < float("inf"):
            raise ConfigError(f"{self.name}: a scale of {self.scale}; expected a number")
        if self.positions not in ("all", "prompt"):
            raise ConfigError(f"{self.name}: positions {self.positions!r}; expected 'all' or 'prompt'")

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """`model` steered, in generation and scoring; errors as for any intervention.

        What is scored counts as prompt, since one pass sees all of it.
        """
        self.made_for.require(model, self.name)
        site = Site(self.layer, Part.RESIDUAL)
        if self.positions == "all":
            with map_everywhere(model.model, {site: _adding(self.scale * self.direction)}):
                yield model
        else:
            with replace(model.model, {site: _in_prompts(self.scale, self.direction)}, all_reached=False):
                yield model


def _adding(step: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda stream: stream + step.to(stream)


def _in_prompts(scale: float, direction: torch.Tensor) -> Edit:
    add = add_direction(direction, scale)

    def edit(stream: torch.Tensor, context: Context) -> torch.Tensor:
        return add(stream, context) if context.now.begins else stream

    return edit
