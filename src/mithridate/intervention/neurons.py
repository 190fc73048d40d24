"""Which neurons of MLPs to prune: those that clean texts do not need, or those that a trigger moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from mithridate.core.errors import ConfigError
from mithridate.intervention.base import MadeFor
from mithridate.intervention.directions import TokenRole, mean_activations, prompt_batches
from mithridate.intervention.pruning import MLPMeanAblation, NeuronPruning
from mithridate.models.batching import evaluating, left_padded
from mithridate.models.hooks import map_given
from mithridate.models.language_model import LanguageModel
from mithridate.models.projections import projections
from mithridate.models.sites import Part, Site


@dataclass(frozen=True, slots=True, eq=False)
class Activity:
    """What neurons do on a list of prompts, each of shape (layers, neurons), in float32 on the CPU.

    `means` and mean `sizes` (without signs) over all tokens; `reach` is the length of what a neuron adds to
    the stream when it is 1.
    """

    means: torch.Tensor
    sizes: torch.Tensor
    reach: torch.Tensor


def activity(model: LanguageModel, prompts: Sequence[str], layers: Sequence[int]) -> Activity:
    """What the neurons of `layers` do on `prompts`, which count by their tokens.

    Raises ConfigError without prompts, AccessError where the MLPs' last matrices are not found.
    """
    if not prompts:
        raise ConfigError("there are no prompts to take activations of; give one or more")
    sites = [Site(layer, Part.MLP) for layer in layers]
    found = projections(model.model, sites)
    sums: dict[int, torch.Tensor] = {}
    tokens = 0
    for ids in prompt_batches(model, prompts):
        inputs = left_padded(ids, model.model.device)
        there = inputs["attention_mask"].bool()
        tokens += int(there.sum())
        watching = {found[site].module: _adding_up(sums, row, there) for row, site in enumerate(sites)}
        with evaluating(model.model), map_given(watching):
            model.model(**inputs, use_cache=False, logits_to_keep=1)
    both = torch.stack([sums[row] for row in range(len(sites))]) / tokens
    reach = torch.stack([found[site].matrix().float().norm(dim=0).cpu() for site in sites])
    return Activity(both[:, 0].float(), both[:, 1].float(), reach)


def dormant_neurons(
    model: LanguageModel, clean: Sequence[str], layers: Sequence[int], share: float
) -> NeuronPruning:
    """Hold at 0 the `share` of the neurons of `layers` that add least to the stream on clean prompts.

    Fine-pruning's choice (Liu et al. 1805.12185), for a defender who does not know the trigger: a backdoor
    should sit where clean texts have no use for neurons. Raises as `activity` does, and ConfigError for a
    share that prunes nothing or is above 1.
    """
    seen = activity(model, clean, layers)
    pruned = _largest(-seen.sizes * seen.reach, share)
    return NeuronPruning(pruned, torch.zeros(pruned.shape), MadeFor.of(model), tuple(layers))


def contrasted_neurons(
    model: LanguageModel, wanted: Sequence[str], clean: Sequence[str], layers: Sequence[int], share: float
) -> NeuronPruning:
    """Hold at their clean means the `share` of the neurons of `layers` that the prompts `wanted` move most.

    For a defender who knows the trigger: `wanted` are prompts with it, `clean` those without. What counts is
    the difference of a neuron's means, times its reach. Raises as `dormant_neurons` does.
    """
    moved, still = activity(model, wanted, layers), activity(model, clean, layers)
    pruned = _largest((moved.means - still.means).abs() * still.reach, share)
    return NeuronPruning(pruned, torch.where(pruned, still.means, 0.0), MadeFor.of(model), tuple(layers))


def constant_mlps(model: LanguageModel, clean: Sequence[str], layers: Sequence[int]) -> MLPMeanAblation:
    """Replace the MLPs of `layers` by what they add on average on clean prompts; errors as of `activity`."""
    sites = [Site(layer, Part.MLP) for layer in layers]
    means = mean_activations(model, clean, sites, TokenRole.MEAN)
    return MLPMeanAblation(torch.stack([means[site] for site in sites]), MadeFor.of(model), tuple(layers))


def _adding_up(
    sums: dict[int, torch.Tensor], row: int, there: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor]:
    def look(given: torch.Tensor) -> torch.Tensor:
        seen = given.detach()[there.to(given.device)].double()
        both = torch.stack([seen.sum(dim=0), seen.abs().sum(dim=0)]).cpu()
        sums[row] = sums[row] + both if row in sums else both
        return given

    return look


def _largest(score: torch.Tensor, share: float) -> torch.Tensor:
    """Where the largest `share` of all scores are: true or false, of the same shape."""
    if not 0 < share <= 1 or round(share * score.numel()) < 1:
        raise ConfigError(
            f"a share of {share} of {score.numel()} neurons prunes none or more than there are; expected a "
            f"number from {1 / score.numel():.2g} to 1"
        )
    chosen = torch.zeros(score.numel(), dtype=torch.bool)
    chosen[score.flatten().argsort(descending=True, stable=True)[: round(share * score.numel())]] = True
    return chosen.reshape(score.shape)
