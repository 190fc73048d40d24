"""Concept erasure: what tells a triggered text from others is taken out of the stream, and little else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch

from mithridate.core.errors import ConfigError
from mithridate.intervention.base import MadeFor, unit
from mithridate.models.hooks import map_everywhere
from mithridate.models.language_model import LanguageModel
from mithridate.models.sites import Part, Site


@dataclass(frozen=True, slots=True, eq=False)
class ConceptErasure:
    """x - s r, where s = w'x - c says how far x lies from clean texts (0) towards triggered ones (1).

    `writers` holds r and `readers` w, of shape (layers, width); `centres` c, of shape (layers,). The stream
    behind each of `layers` is changed so, at all positions. With w = r / |r|^2 it is directional ablation
    about a centre; with w whitened by the covariance of clean texts it is the oblique projection of LEACE
    (Belrose et al. 2306.03819), which changes clean texts least. With a `gate`, states of which s is not
    above it are left alone to the bit, as conditional steering does (Lee et al. 2409.05907).
    `discriminants` makes them from prompts.

    Raises ConfigError for layers that are not there, other shapes, a direction of norm zero, or a gate that
    is no number.
    """

    name: ClassVar[str] = "concept_erasure"

    writers: torch.Tensor
    readers: torch.Tensor
    centres: torch.Tensor
    made_for: MadeFor
    layers: tuple[int, ...]
    gate: float | None = None

    def __post_init__(self) -> None:
        self.made_for.require_layers(self.layers, self.name)
        shape = (len(self.layers), self.made_for.width)
        for tensor in (self.writers, self.readers):
            self.made_for.require_tensor(tensor, shape, self.name)
            unit(tensor, self.name)
        self.made_for.require_tensor(self.centres, shape[:1], self.name)
        if self.gate is not None and not abs(self.gate) < float("inf"):
            raise ConfigError(f"{self.name}: a gate of {self.gate}; expected a number, or none")

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """`model` with the concept erased, in generation and scoring; errors as for any intervention."""
        self.made_for.require(model, self.name)
        functions = {
            Site(layer, Part.RESIDUAL): _erasing(writer, reader, float(centre), self.gate)
            for layer, writer, reader, centre in zip(
                self.layers, self.writers, self.readers, self.centres, strict=True
            )
        }
        with map_everywhere(model.model, functions):
            yield model


def _erasing(
    writer: torch.Tensor, reader: torch.Tensor, centre: float, gate: float | None
) -> Callable[[torch.Tensor], torch.Tensor]:
    def erase(stream: torch.Tensor) -> torch.Tensor:
        score = stream @ reader.to(stream) - centre
        if gate is not None:
            score = torch.where(score > gate, score, 0.0)
        return stream - score[..., None] * writer.to(stream)

    return erase
