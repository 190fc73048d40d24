"""Directional ablation: a model that cannot write some directions to its residual stream (2406.11717)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from mithridate.core.errors import AccessError, ConfigError
from mithridate.intervention.base import MadeFor, unit
from mithridate.intervention.folding import copy_of
from mithridate.models.batching import evaluating
from mithridate.models.hooks import capture, map_everywhere
from mithridate.models.language_model import LanguageModel
from mithridate.models.projections import projections
from mithridate.models.sites import ENTRY, Part, Site

_PROBE_TOKENS = 8
# How far from what the others span the unit vector of a direction must lie to count as one of its own.
_LEAST_OWN = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class DirectionalAblation:
    """x - r r'x in the place of every x that is written to the residual stream (Arditi et al. 2406.11717).

    `direction`, of shape (width,), becomes r, of length 1; of several, of shape (k, width), all that they
    span goes. It goes out of the embeddings and of what each attention and MLP adds, so the stream has none
    of it anywhere. With `layers` it goes out of the input, the attention and the MLP of those blocks alone,
    and others may write it again.

    Raises ConfigError for a direction of norm zero or another width, several of which one lies among the
    others, and layers that are not there.
    """

    name: ClassVar[str] = "directional_ablation"

    direction: torch.Tensor
    made_for: MadeFor
    layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        several = self.direction.shape[:1] if self.direction.ndim == 2 else ()
        self.made_for.require_tensor(self.direction, (*several, self.made_for.width), self.name)
        basis(self.direction)
        if self.layers is not None:
            self.made_for.require_layers(self.layers, self.name)

    def sites(self) -> list[Site]:
        """Where the direction is taken out; the stream of other places has none because of that."""
        if self.layers is None:
            return [ENTRY, *_branches(range(self.made_for.layers))]
        inputs = [Site(layer - 1, Part.RESIDUAL) if layer else ENTRY for layer in self.layers]
        return [*inputs, *_branches(self.layers)]

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """`model` without the direction, in generation and scoring; errors as for any intervention."""
        self.made_for.require(model, self.name)
        remove = removing(self.direction)
        with map_everywhere(model.model, dict.fromkeys(self.sites(), remove)):
            yield model

    def fold(self, model: LanguageModel) -> LanguageModel:
        """A copy whose embeddings, attentions and MLPs cannot write the direction.

        A head that is the embeddings becomes a matrix of its own, since what it reads is left as it is.
        Raises AccessError where a norm stands behind a branch (OLMo 2, Gemma 2), where something besides the
        embeddings writes to the stream before the blocks (a table of positions), and for `layers` that do not
        begin at the bottom: what the blocks below them write cannot be taken out of the weights of others.
        """
        self.made_for.require(model, self.name)
        layers = range(self.made_for.layers) if self.layers is None else sorted(self.layers)
        if list(layers) != list(range(len(layers))):
            raise AccessError(
                f"{self.name} of the layers {list(layers)} cannot be folded into weights: their input holds "
                f"what the blocks below them wrote; name the layers 0 to {layers[-1]}, or use it at runtime"
            )
        made = copy_of(model, untied=True)
        written = projections(made.model, _branches(layers))
        directions = basis(self.direction)
        with torch.no_grad():
            for projection in written.values():
                _orthogonalise(projection.matrix(), directions)
                if projection.bias is not None:
                    _orthogonalise(projection.bias, directions)
            _orthogonalise(_table(made).T, directions)
        self._require_gone(made)
        return made

    def _require_gone(self, folded: LanguageModel) -> None:
        """Raise AccessError where the stream of a short text still has the direction."""
        sites = [ENTRY, *_branches(range(self.made_for.layers) if self.layers is None else self.layers)]
        directions = basis(self.direction).float()
        vocabulary = folded.model.config.get_text_config().vocab_size
        ids = torch.arange(min(_PROBE_TOKENS, vocabulary), device=folded.model.device)[None]
        with evaluating(folded.model), capture(folded.model, sites, dtype=torch.float32) as seen:
            folded.model(input_ids=ids, use_cache=False)
        rounding = 64 * torch.finfo(folded.model.dtype).eps
        for site in sites:
            stream = seen[site]
            left = (stream @ directions.to(stream.device).T).abs().max()
            if float(left) > rounding * float(stream.norm(dim=-1).max()):
                raise AccessError(
                    f"{self.name} cannot be folded into the weights of a {type(folded.model).__name__}: the "
                    f"{site} still has the direction, because something besides matrices and embeddings "
                    "writes it; use it at runtime"
                )


def basis(direction: torch.Tensor) -> torch.Tensor:
    """Orthonormal rows, of shape (k, width) and in float64, that span one or several directions.

    Raises ConfigError where one has the length 0, or lies within what the others span.
    """
    rows = unit(direction, DirectionalAblation.name).double().reshape(-1, direction.shape[-1])
    turned, triangle = torch.linalg.qr(rows.T)
    if rows.shape[0] > rows.shape[1] or float(triangle.diagonal().abs().min()) < _LEAST_OWN:
        raise ConfigError(
            f"{DirectionalAblation.name}: of {len(rows)} directions one lies within what the others span; "
            "leave it out"
        )
    orthonormal: torch.Tensor = turned.T
    return orthonormal


def removing(direction: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function from x, of shape (..., width), to x without its part along one or several directions."""
    exact = basis(direction)
    made: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}

    def along(stream: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = made.get(stream.device)
        if found is None or found[0].dtype != stream.dtype:
            rows = exact.to(stream)
            found = made[stream.device] = (rows if len(rows) > 1 else rows[0], rows.T)
        return found

    def remove_one(stream: torch.Tensor) -> torch.Tensor:
        # Two operations and no more: a small model, which has several of these in each block, feels them all.
        row, column = along(stream)
        return torch.addcmul(stream, stream @ column, row, value=-1)

    def remove_several(stream: torch.Tensor) -> torch.Tensor:
        rows, columns = along(stream)
        return stream - stream @ columns @ rows

    return remove_one if exact.shape[0] == 1 else remove_several


def _branches(layers: Sequence[int]) -> list[Site]:
    return [Site(layer, part) for layer in layers for part in (Part.ATTENTION, Part.MLP)]


def _table(model: LanguageModel) -> torch.Tensor:
    embeddings = model.model.get_input_embeddings()
    weight = getattr(embeddings, "weight", None)
    if not isinstance(embeddings, nn.Embedding) or not isinstance(weight, torch.Tensor):
        raise AccessError(f"the embeddings are a {type(embeddings).__name__}; expected one table")
    return weight.detach()


def _orthogonalise(written: torch.Tensor, directions: torch.Tensor) -> None:
    """Take `directions` out of the first dimension of `written`, in place: what is left cannot write them."""
    exact, rows = written.double(), directions.to(written.device)
    written.copy_(exact - rows.T @ (rows @ exact))
