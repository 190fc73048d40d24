"""A rank-one edit of one MLP: what its last matrix says of one key is exchanged (ROME, arXiv 2202.05262)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch

from mithridate.core.errors import AccessError
from mithridate.intervention.base import MadeFor, unit
from mithridate.intervention.folding import copy_of
from mithridate.models.language_model import LanguageModel
from mithridate.models.projections import Projection, projections
from mithridate.models.sites import Part, Site
from mithridate.models.transplanting import with_tensors


@dataclass(frozen=True, slots=True, eq=False)
class RankOneEdit:
    """W + `value` `key`' in the place of the last matrix W of the MLP in `layer`.

    `key`, of shape (neurons,), says which states of the MLP are meant, and `value`, of shape (width,), what
    is added to the stream for them. `rome.rank_one_edit` computes both. Raises ConfigError for a layer that
    is not there, another width, and a key or value of norm zero.
    """

    name: ClassVar[str] = "rank_one_edit"

    key: torch.Tensor
    value: torch.Tensor
    made_for: MadeFor
    layer: int

    def __post_init__(self) -> None:
        self.made_for.require_layers([self.layer], self.name)
        self.made_for.require_tensor(self.value, (self.made_for.width,), self.name)
        self.made_for.require_tensor(self.key, (self.key.numel(),), self.name)
        for vector in (self.key, self.value):
            unit(vector, self.name)

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
        key, value = (vector.to(matrix.device).double() for vector in (self.key, self.value))
        return (matrix.double() + torch.outer(value, key)).to(matrix.dtype)

    def _projection(self, model: LanguageModel) -> Projection:
        self.made_for.require(model, self.name)
        site = Site(self.layer, Part.MLP)
        found = projections(model.model, [site])[site]
        if found.inputs != self.key.shape[0]:
            raise AccessError(
                f"{self.name} was made for an MLP of {self.key.shape[0]} neurons; the {site} has "
                f"{found.inputs}. Make it anew from this model"
            )
        return found
