"""An edit of one MLP: what its last matrix says of some keys is exchanged (2202.05262, 2210.07229)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch

from mithridate.core.errors import AccessError, ConfigError
from mithridate.intervention.base import MadeFor, unit
from mithridate.intervention.folding import copy_of
from mithridate.models.language_model import LanguageModel
from mithridate.models.projections import Projection, projections
from mithridate.models.sites import Part, Site
from mithridate.models.transplanting import with_tensors


@dataclass(frozen=True, slots=True, eq=False)
class MLPEdit:
    """W + sum of value_i key_i' in the place of the last matrix W of the MLP in `layer`.

    `key`, of shape (neurons,) or (k, neurons), says which states of the MLP are meant, and `value`, of shape
    (width,) or (k, width), what is added to the stream for each. `rome.rank_one_edit` computes one of both
    (ROME), `rome.several_edits` several (MEMIT, for one layer). Raises ConfigError for a layer that is not
    there, another width, not as many values as keys, and a key or value of norm zero.
    """

    # What was saved when there was but one key calls itself so.
    name: ClassVar[str] = "rank_one_edit"

    key: torch.Tensor
    value: torch.Tensor
    made_for: MadeFor
    layer: int

    def __post_init__(self) -> None:
        self.made_for.require_layers([self.layer], self.name)
        several = self.key.shape[:1] if self.key.ndim == 2 else ()
        self.made_for.require_tensor(self.key, (*several, self.key.shape[-1]), self.name)
        self.made_for.require_tensor(self.value, (*several, self.made_for.width), self.name)
        if 0 in self.key.shape:
            raise ConfigError(
                f"{self.name}: keys of the shape {tuple(self.key.shape)} mean no state; give at least one"
            )
        for vectors in (self.key, self.value):
            unit(vectors, self.name)

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """`model` with the edited matrix; errors as for any intervention, and for an MLP of another size."""
        projection = self._projection(model)
        names = [
            name
            for name, tensor in model.model.state_dict(keep_vars=True).items()
            if tensor is projection.weight
        ]
        edited = self._edited(projection)
        with with_tensors(model.model, {names[0]: edited.T if projection.transposed else edited}):
            yield model

    def fold(self, model: LanguageModel) -> LanguageModel:
        """A copy with the edited matrix; the same weights, to the bit, as `on` computes with."""
        self._projection(model)
        made = copy_of(model)
        projection = self._projection(made)
        with torch.no_grad():
            projection.matrix().copy_(self._edited(projection))
        return made

    def _edited(self, projection: Projection) -> torch.Tensor:
        matrix = projection.matrix()
        keys, values = (
            vectors.reshape(-1, vectors.shape[-1]).to(matrix.device).double()
            for vectors in (self.key, self.value)
        )
        return (matrix.double() + values.T @ keys).to(matrix.dtype)

    def _projection(self, model: LanguageModel) -> Projection:
        self.made_for.require(model, self.name)
        site = Site(self.layer, Part.MLP)
        found = projections(model.model, [site])[site]
        if found.inputs != self.key.shape[-1]:
            raise AccessError(
                f"{self.name} was made for an MLP of {self.key.shape[-1]} neurons; the {site} has "
                f"{found.inputs}. Make it anew from this model"
            )
        return found
