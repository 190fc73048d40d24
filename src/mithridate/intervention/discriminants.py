"""What tells triggered prompts from others best, where clean texts vary least (after 2306.03819)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mithridate.core.errors import ConfigError
from mithridate.intervention.base import MadeFor
from mithridate.intervention.directions import (
    Directions,
    difference_of_means,
    mean_activations,
    prompt_batches,
)
from mithridate.intervention.erasure import ConceptErasure
from mithridate.models.batching import evaluating, left_padded
from mithridate.models.hooks import capture
from mithridate.models.language_model import LanguageModel
from mithridate.models.sites import Part, Site

# Of the mean variance: makes a covariance that few texts were counted for one that can be inverted.
_RIDGE = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class Discriminants:
    """For each layer r, the difference of means; w, which reads how much of it there is; and the centre.

    `writers` and `readers` have the shape (layers, width) and are such that w'r = 1; `centres` (layers,) is
    w'x of the mean of untriggered prompts.
    """

    writers: torch.Tensor
    readers: torch.Tensor
    centres: torch.Tensor
    made_for: MadeFor

    def erasing(self, layers: Sequence[int], gate: float | None = None) -> ConceptErasure:
        """The erasure at `layers`. Raises ConfigError as `ConceptErasure` does."""
        self.made_for.require_layers(layers, ConceptErasure.name)
        chosen = list(layers)
        return ConceptErasure(
            self.writers[chosen],
            self.readers[chosen],
            self.centres[chosen],
            self.made_for,
            tuple(layers),
            gate,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """How clean texts vary behind each block: second moments of the stream over their tokens.

    `covariances` has the shape (layers, width, width), in float64 on the CPU.
    """

    covariances: torch.Tensor
    tokens: int


def spread_of(model: LanguageModel, clean: Sequence[str]) -> Spread:
    """The covariance of the stream behind each block over all tokens of `clean`.

    Raises ConfigError without texts.
    """
    if not clean:
        raise ConfigError("concept erasure needs clean texts, which it is to leave as they are; give some")
    sites = _sites(model)
    width = MadeFor.of(model).width
    sums = torch.zeros(len(sites), width, dtype=torch.float64)
    squares = torch.zeros(len(sites), width, width, dtype=torch.float64)
    tokens = 0
    for ids in prompt_batches(model, clean):
        with evaluating(model.model), capture(model.model, sites, dtype=torch.float32) as seen:
            model.model(**left_padded(ids, model.model.device), use_cache=False, logits_to_keep=1)
        there = seen.positions >= 0
        tokens += int(there.sum())
        for row, site in enumerate(sites):
            stream = seen[site][there.to(seen[site].device)].double()
            sums[row] += stream.sum(dim=0).cpu()
            squares[row] += (stream.T @ stream).cpu()
    means = sums / tokens
    return Spread(squares / tokens - means[:, :, None] * means[:, None, :], tokens)


def discriminants(
    model: LanguageModel, wanted: Sequence[str], other: Sequence[str], spread: Spread
) -> Discriminants:
    """What tells the last tokens of `wanted` from those of `other`, given how clean texts spread.

    r is the difference of means and w = C^-1 r / (r' C^-1 r), Fisher's discriminant, with a small ridge on C.
    Raises ConfigError as `difference_of_means` does, and for clean texts that do not vary.
    """
    found = difference_of_means(model, wanted, other)
    writers = found.units.double() * found.norms.double()[:, None]
    diagonal = spread.covariances.diagonal(dim1=1, dim2=2).mean(dim=1)
    if not bool((diagonal > 0).all()):
        raise ConfigError(
            "concept erasure needs clean texts that differ; these are all one token. Give others"
        )
    ridge = _RIDGE * diagonal[:, None, None] * torch.eye(writers.shape[1], dtype=torch.float64)
    solved = torch.linalg.solve(spread.covariances + ridge, writers)
    readers = solved / (solved * writers).sum(dim=1, keepdim=True)
    means = mean_activations(model, other, _sites(model))
    middles = torch.stack([means[site] for site in _sites(model)]).double()
    centres = (readers * middles).sum(dim=1)
    return Discriminants(writers.float(), readers.float(), centres.float(), found.made_for)


def random_discriminants(like: Discriminants, drawn: Directions) -> Discriminants:
    """The same readers and centres, which write `drawn` instead: something else is done at the same places.

    `drawn` are directions of the same lengths, as `random_directions` makes them.
    """
    writers = drawn.units * like.writers.norm(dim=-1, keepdim=True)
    return Discriminants(writers, like.readers, like.centres, like.made_for)


def _sites(model: LanguageModel) -> list[Site]:
    return [Site(layer, Part.RESIDUAL) for layer in range(MadeFor.of(model).layers)]
