"""Directions that tell two lists of prompts apart: differences of mean activations, and random ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch

from mithridate.core.errors import ConfigError
from mithridate.core.seeds import derive_seed
from mithridate.intervention.base import MadeFor, unit
from mithridate.models.batching import batches, context_window, evaluating, left_padded, rows_that_fit
from mithridate.models.hooks import capture
from mithridate.models.language_model import LanguageModel
from mithridate.models.sites import Part, Site


class TokenRole(StrEnum):
    """Which tokens of a prompt count: its last one, where an answer begins, or the mean of all."""

    LAST = "last"
    MEAN = "mean"


@dataclass(frozen=True, slots=True, eq=False)
class Directions:
    """One direction a layer: `units`, of shape (layers, width) and length 1, and their `norms` (layers,).

    Layer l is the residual stream behind block l.
    """

    units: torch.Tensor
    norms: torch.Tensor
    made_for: MadeFor

    def at(self, layer: int) -> torch.Tensor:
        """The direction of a layer, as long as it was measured; of shape (width,).

        Raises ConfigError for a layer that is not there.
        """
        self.made_for.require_layers([layer], "direction")
        return self.units[layer] * self.norms[layer]


def difference_of_means(
    model: LanguageModel, wanted: Sequence[str], other: Sequence[str], role: TokenRole = TokenRole.LAST
) -> Directions:
    """For each layer, the mean activation over the prompts `wanted` minus that over `other`.

    With the last token, as Arditi et al. 2406.11717 and Rimsky et al. 2312.06681 take it, or the mean over
    the tokens of each prompt. Raises ConfigError for an empty list, and where a layer does not tell the two
    apart: a direction of norm zero.
    """
    sites = [Site(layer, Part.RESIDUAL) for layer in range(MadeFor.of(model).layers)]
    means = [mean_activations(model, prompts, sites, role) for prompts in (wanted, other)]
    differences = torch.stack([means[0][site] - means[1][site] for site in sites])
    return Directions(unit(differences, "difference of means"), differences.norm(dim=-1), MadeFor.of(model))


def random_directions(like: Directions, seed: int) -> Directions:
    """Directions that `seed` alone chooses, each as long as that of `like`: what any direction would do."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "random direction"))
    drawn = torch.randn(like.units.shape, generator=generator)
    return Directions(unit(drawn, "random direction"), like.norms, like.made_for)


def mean_activations(
    model: LanguageModel, prompts: Sequence[str], sites: Sequence[Site], role: TokenRole = TokenRole.LAST
) -> dict[Site, torch.Tensor]:
    """The mean over `prompts` at each of `sites`, of shape (width,), in float32 on the CPU.

    A prompt that outgrows the context window loses its beginning. Raises ConfigError without prompts.
    """
    if not prompts:
        raise ConfigError("there are no prompts to take activations of; give one or more")
    sums: dict[Site, torch.Tensor] = {}
    for ids in prompt_batches(model, prompts):
        with evaluating(model.model), capture(model.model, sites, dtype=torch.float32) as seen:
            model.model(**left_padded(ids, model.model.device), use_cache=False, logits_to_keep=1)
        for site in sites:
            found = _summed(seen[site], seen.positions, role).cpu()
            sums[site] = sums[site] + found if site in sums else found
    return {site: (total / len(prompts)).float() for site, total in sums.items()}


def prompt_batches(model: LanguageModel, prompts: Sequence[str]) -> Iterator[list[list[int]]]:
    """The ids of `prompts` in batches that fit; a prompt that outgrows the window loses its beginning."""
    window = context_window(model.model)
    ids = [found[-window:] if window else found for found in model.prompt_ids(prompts)]
    for batch in batches(ids, len, lambda width: rows_that_fit(model.model, width, 1)):
        yield [ids[number] for number in batch]


def _summed(stream: torch.Tensor, positions: torch.Tensor, role: TokenRole) -> torch.Tensor:
    """The sum over rows of a batch, in float64; prompts are padded on the left."""
    if role == TokenRole.LAST:
        return stream[:, -1].double().sum(dim=0)
    there = (positions >= 0).to(stream.device)[:, :, None]
    return ((stream.double() * there).sum(dim=1) / there.sum(dim=1)).sum(dim=0)
