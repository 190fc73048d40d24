"""Directional ablation: a model that cannot write one direction to its residual stream (arXiv 2406.11717)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from mithridate.core.errors import AccessError
from mithridate.intervention.base import MadeFor, unit
from mithridate.intervention.folding import copy_of
from mithridate.models.batching import evaluating
from mithridate.models.hooks import capture, map_everywhere
from mithridate.models.language_model import LanguageModel
from mithridate.models.projections import projections
from mithridate.models.sites import ENTRY, Part, Site

_PROBE_TOKENS = 8


@dataclass(frozen=True, slots=True, eq=False)
class DirectionalAblation:
    """x - r r'x in the place of every x that is written to the residual stream (Arditi et al. 2406.11717).

    `direction`, of shape (width,), becomes r, of length 1. It goes out of the embeddings and of what each
    attention and MLP adds, so the stream has none of it anywhere. With `layers` it goes out of the input, the
    attention and the MLP of those blocks alone, and others may write it again.

    Raises ConfigError for a direction of norm zero or another width, and layers that are not there.
    """

    name: ClassVar[str] = "directional_ablation"

    direction: torch.Tensor
    made_for: MadeFor
    layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        self.made_for.require_tensor(self.direction, (self.made_for.width,), self.name)
        unit(self.direction, self.name)
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
        direction = unit(self.direction, self.name).double()
        with torch.no_grad():
            for projection in written.values():
                _orthogonalise(projection.matrix(), direction)
                if projection.bias is not None:
                    _orthogonalise(projection.bias, direction)
            _orthogonalise(_table(made).T, direction)
        self._require_gone(made)
        return made

    def _require_gone(self, folded: LanguageModel) -> None:
        """Raise AccessError where the stream of a short text still has the direction."""
        sites = [ENTRY, *_branches(range(self.made_for.layers) if self.layers is None else self.layers)]
        direction = unit(self.direction, self.name)
        vocabulary = folded.model.config.get_text_config().vocab_size
        ids = torch.arange(min(_PROBE_TOKENS, vocabulary), device=folded.model.device)[None]
        with evaluating(folded.model), capture(folded.model, sites, dtype=torch.float32) as seen:
            folded.model(input_ids=ids, use_cache=False)
        rounding = 64 * torch.finfo(folded.model.dtype).eps
        for site in sites:
            stream = seen[site]
            left = (stream @ direction.to(stream)).abs().max()
            if float(left) > rounding * float(stream.norm(dim=-1).max()):
                raise AccessError(
                    f"{self.name} cannot be folded into the weights of a {type(folded.model).__name__}: the "
                    f"{site} still has the direction, because something besides matrices and embeddings "
                    "writes it; use it at runtime"
                )


def removing(direction: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function from x, of shape (..., width), to x - r r'x, where r is `direction` with the length 1."""
    exact = unit(direction, "ablation")[None]
    units: dict[torch.device, torch.Tensor] = {}

    def remove(stream: torch.Tensor) -> torch.Tensor:
        one = units.get(stream.device)
        if one is None or one.dtype != stream.dtype:
            one = units[stream.device] = exact.to(stream)
        # Two operations and no more: a small model, which has several of these in each block, feels them all.
        return torch.addcmul(stream, functional.linear(stream, one), one, value=-1)

    return remove


def _branches(layers: Sequence[int]) -> list[Site]:
    return [Site(layer, part) for layer in layers for part in (Part.ATTENTION, Part.MLP)]


def _table(model: LanguageModel) -> torch.Tensor:
    embeddings = model.model.get_input_embeddings()
    weight = getattr(embeddings, "weight", None)
    if not isinstance(embeddings, nn.Embedding) or not isinstance(weight, torch.Tensor):
        raise AccessError(f"the embeddings are a {type(embeddings).__name__}; expected one table")
    return weight.detach()


def _orthogonalise(written: torch.Tensor, direction: torch.Tensor) -> None:
    """Take `direction` out of the first dimension of `written`, in place: what is left cannot write it."""
    exact, one = written.double(), direction.to(written.device)
    exact -= torch.tensordot(one, one @ exact, dims=0)
    written.copy_(exact)
