"""Representation editing: something added to the stream where an entity stands (REMEDI, 2304.00740)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch

from mithridate.core.errors import ConfigError
from mithridate.core.seeds import derive_seed
from mithridate.intervention.base import MadeFor
from mithridate.models.hooks import Edit, replace
from mithridate.models.language_model import LanguageModel
from mithridate.models.passes import Context
from mithridate.models.sites import Part, Site


@dataclass(frozen=True, slots=True, eq=False)
class RepresentationEdit:
    """`steps[i]`, of shape (width,), is added behind block `layer` at the last token of `entities[i]`.

    `steps` has the shape (entities, width). An entity is found by its tokens, at the beginning of a word,
    wherever a prompt has it; in what the model writes itself it is left alone. `remedi.AttributeMap` makes
    such edits from texts. Nothing is folded: weights do not know which texts are meant.

    Raises ConfigError without entities, for one that is empty or named twice, and for steps of other shapes.
    """

    name: ClassVar[str] = "representation_edit"

    steps: torch.Tensor
    made_for: MadeFor
    entities: tuple[str, ...]
    layer: int

    def __post_init__(self) -> None:
        self.made_for.require_layers([self.layer], self.name)
        if not all(entity.strip() for entity in self.entities) or not self.entities:
            raise ConfigError(f"{self.name}: an entity is empty, or there is none; name what to edit")
        if len(set(self.entities)) < len(self.entities):
            raise ConfigError(f"{self.name}: an entity is named twice, with two edits; keep one")
        self.made_for.require_tensor(self.steps, (len(self.entities), self.made_for.width), self.name)

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """`model` edited, in generation and scoring; errors as for any intervention.

        What is scored counts as prompt, since one pass sees all of it.
        """
        self.made_for.require(model, self.name)
        patterns = [
            (ids, self.steps[number])
            for number, entity in enumerate(self.entities)
            for ids in _spellings(model, entity)
        ]
        site = Site(self.layer, Part.RESIDUAL)
        with replace(model.model, {site: _adding_where(patterns)}, all_reached=False):
            yield model


def random_steps(edit: RepresentationEdit, seed: int) -> RepresentationEdit:
    """The same entities with steps of the same lengths that point anywhere: the control of an edit."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "random steps"))
    drawn = torch.randn(edit.steps.shape, generator=generator)
    lengths = edit.steps.norm(dim=-1, keepdim=True)
    return dataclasses.replace(edit, steps=drawn / drawn.norm(dim=-1, keepdim=True) * lengths)


def _spellings(model: LanguageModel, entity: str) -> list[list[int]]:
    """The ids of an entity with and without a space before it."""
    texts = [entity.strip(), " " + entity.strip()]
    found = [model.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    return [list(ids) for ids in dict.fromkeys(map(tuple, found)) if ids]


def _adding_where(patterns: Sequence[tuple[list[int], torch.Tensor]]) -> Edit:
    def edit(stream: torch.Tensor, context: Context) -> torch.Tensor:
        if not context.now.begins or context.now.ids is None:
            return stream
        added = torch.zeros_like(stream)
        for ids, step in patterns:
            ends = _ends(context.now.ids, context.positions, ids).to(stream.device)
            added = added + ends[:, :, None] * step.to(stream)
        return stream + added

    return edit


def _ends(ids: torch.Tensor, positions: torch.Tensor, pattern: Sequence[int]) -> torch.Tensor:
    """Where in `ids`, of shape (rows, columns), an occurrence of `pattern` ends: true or false."""
    ends = torch.zeros_like(ids, dtype=torch.bool)
    length = len(pattern)
    if length <= ids.shape[1]:
        windows = ids.unfold(1, length, 1)
        fits = (windows == torch.tensor(pattern, device=ids.device)).all(dim=-1)
        begins = positions[:, : ids.shape[1] - length + 1] >= 0
        ends[:, length - 1 :] = fits & begins.to(ids.device)
    return ends
