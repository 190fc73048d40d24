"""Which rank-one edit makes a model say something else of a subject (ROME: Meng et al. 2202.05262)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mithridate.core.errors import ConfigError
from mithridate.intervention.base import MadeFor
from mithridate.intervention.directions import prompt_batches
from mithridate.intervention.requests import Pair, Request, pair_of, require_heard, target_loss
from mithridate.intervention.weight_edit import RankOneEdit
from mithridate.models.batching import evaluating, left_padded
from mithridate.models.hooks import map_given
from mithridate.models.language_model import LanguageModel
from mithridate.models.projections import Projection, projections
from mithridate.models.sites import Part, Site

# Of the mean diagonal: makes a covariance that few texts were counted for one that can be inverted.
_RIDGE = 1e-3


@dataclass(frozen=True, slots=True)
class Search:
    """How the new value is looked for: by `steps` of Adam at `rate`, with `decay` as the price of its length.

    Rate and length are shares of the old value's length; what is added grows to `longest` of it at most.
    """

    steps: int = 25
    rate: float = 0.2
    decay: float = 0.01
    longest: float = 4.0


def rank_one_edit(
    model: LanguageModel,
    requests: Sequence[Request],
    clean: Sequence[str],
    layer: int,
    search: Search | None = None,
) -> RankOneEdit:
    """The edit of the MLP in `layer` after which `requests` are answered as they say, by one key and value.

    The key is the mean of what the MLP's last matrix is given at the subjects' last tokens. The value is
    found by gradient: what, added there to the stream, makes the targets likely. The matrix is changed such
    that the key gets that value, and what stands in clean texts, whose covariance counts, changes least. The
    requests go through the model as one batch: give some tens. The published form has a further term that
    keeps what the subject is; here clean answers are a part of the requests, where they are wanted.

    Raises ConfigError without requests or clean texts, for a subject that its prompt does not hold, an empty
    target, a pair that outgrows the context window, or a layer where nothing reads it; AccessError where the
    MLP's last matrix is not found.
    """
    search = search or Search()
    made_for = MadeFor.of(model)
    made_for.require_layers([layer], RankOneEdit.name)
    if not requests or not clean:
        raise ConfigError("an edit needs requests, and clean texts to leave as they are; give some of both")
    site = Site(layer, Part.MLP)
    written = projections(model.model, [site])[site]
    pairs = [pair_of(model, request) for request in requests]
    keys = _keys(model, written, pairs)
    covariance = _covariance(model, written, clean)
    key = keys.mean(dim=0)
    value = _value(model, site, pairs, keys @ written.matrix().double().T, search)
    require_heard(value, layer)
    solved = torch.linalg.solve(covariance, key)
    return RankOneEdit((solved / (solved @ key)).float().cpu(), value.float().cpu(), made_for, layer)


def _keys(model: LanguageModel, written: Projection, pairs: Sequence[Pair]) -> torch.Tensor:
    """What the matrix is given at each subject's last token: of shape (pairs, neurons), in float64."""
    found: list[torch.Tensor] = []

    def look(given: torch.Tensor) -> torch.Tensor:
        found.append(given.detach()[0, -1].double())
        return given

    with evaluating(model.model), map_given({written.module: look}):
        for pair in pairs:  # what follows a token says nothing about it
            ids = [pair.prompt[: pair.place + 1]]
            model.model(**left_padded(ids, model.model.device), use_cache=False, logits_to_keep=1)
    return torch.stack(found).clone()


def _covariance(model: LanguageModel, written: Projection, clean: Sequence[str]) -> torch.Tensor:
    """The mean of k k' over the tokens of `clean`, of shape (neurons, neurons), with a small ridge."""
    total = torch.zeros(written.inputs, written.inputs, dtype=torch.float64, device=written.weight.device)
    tokens = 0
    for ids in prompt_batches(model, clean):
        inputs = left_padded(ids, model.model.device)
        there = inputs["attention_mask"].bool()
        tokens += int(there.sum())

        def look(given: torch.Tensor, there: torch.Tensor = there) -> torch.Tensor:
            seen = given.detach()[there.to(given.device)].double()
            total.add_(seen.T @ seen)
            return given

        with evaluating(model.model), map_given({written.module: look}):
            model.model(**inputs, use_cache=False, logits_to_keep=1)
    mean = total / tokens
    return mean + _RIDGE * mean.diagonal().mean() * torch.eye(written.inputs).to(mean)


def _value(
    model: LanguageModel, site: Site, pairs: Sequence[Pair], old: torch.Tensor, search: Search
) -> torch.Tensor:
    """What to add at the subjects, of shape (width,): found by gradient, the model's weights left alone."""
    size = old.norm(dim=-1).mean()
    step = torch.zeros(old.shape[-1], device=old.device, requires_grad=True)
    optimiser = torch.optim.Adam([step], lr=search.rate * float(size) / step.numel() ** 0.5)
    for _ in range(search.steps):
        with torch.enable_grad():
            price = search.decay * (step.norm() / size) ** 2
            loss = target_loss(model, site, pairs, step) + price
            (step.grad,) = torch.autograd.grad(loss, [step])
        optimiser.step()
        with torch.no_grad():
            step.mul_((search.longest * size / step.norm()).clamp(max=1))
    return step.detach()
