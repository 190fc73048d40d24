"""Which edit of an MLP makes a model say something else of subjects (ROME 2202.05262, MEMIT 2210.07229)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from mithridate.core.errors import ConfigError
from mithridate.intervention.base import MadeFor
from mithridate.intervention.directions import prompt_batches
from mithridate.intervention.requests import Pair, Request, pair_of, require_heard, target_loss
from mithridate.intervention.weight_edit import MLPEdit
from mithridate.models.batching import evaluating, left_padded
from mithridate.models.hooks import map_given
from mithridate.models.language_model import LanguageModel
from mithridate.models.projections import Projection, projections
from mithridate.models.sites import Part, Site

# Of the mean diagonal: makes a covariance that few texts were counted for one that can be inverted.
_RIDGE = 1e-3
# The least eigenvalue of the keys' likeness: of two of them, 1 - cosine where clean texts give the measure.
_LEAST_OWN = 1e-3


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
) -> MLPEdit:
    """The edit of the MLP in `layer` after which `requests` are answered as they say, by one key and value.

    The key is the mean of what the MLP's last matrix is given at the subjects' last tokens. The value is
    found by gradient: what, added there to the stream, makes the targets likely. The matrix is changed such
    that the key gets that value, and what stands in clean texts, whose covariance counts, changes least
    (Meng et al. 2202.05262). The requests go through the model as one batch: give some tens. The published
    form has a further term that keeps what the subject is; here clean answers are a part of the requests,
    where they are wanted.

    Raises ConfigError without requests or clean texts, for a subject that its prompt does not hold, an empty
    target, a pair that outgrows the context window, or a layer where nothing reads it; AccessError where the
    MLP's last matrix is not found.
    """
    edit = several_edits(model, [requests], clean, layer, search)
    return replace(edit, key=edit.key[0], value=edit.value[0])


def several_edits(
    model: LanguageModel,
    groups: Sequence[Sequence[Request]],
    clean: Sequence[str],
    layer: int,
    search: Search | None = None,
) -> MLPEdit:
    """The edit of the MLP in `layer` after which all requests of all groups are answered as they say.

    Each group is of one subject, or of one trigger, and gets a key and a value as that of `rank_one_edit`:
    found by itself, one group after another, in the model as it is. They are put in together: every key gets
    its own value exactly, whatever the others get, and what stands in clean texts changes least. That is the
    closed form of MEMIT (Meng et al. 2210.07229) for one layer, with its keys held to their values.

    Raises as `rank_one_edit`, and ConfigError, which names groups, where the keys of some are too near each
    other, or to what others span, to get values of their own.
    """
    search = search or Search()
    made_for = MadeFor.of(model)
    made_for.require_layers([layer], MLPEdit.name)
    if not groups or not all(groups) or not clean:
        raise ConfigError("an edit needs requests, and clean texts to leave as they are; give some of both")
    site = Site(layer, Part.MLP)
    written = projections(model.model, [site])[site]
    pairs = [[pair_of(model, request) for request in requests] for requests in groups]
    given = [_keys(model, written, group) for group in pairs]
    subjects = [requests[0].subject for requests in groups]
    covariance = _covariance(model, written, clean)
    means = torch.stack([states.mean(dim=0) for states in given])
    keys = _told_apart(means, covariance, subjects)
    matrix = written.matrix().double()
    values = []
    for group, states in zip(pairs, given, strict=True):
        values.append(_value(model, site, group, states @ matrix.T, search))
        require_heard(values[-1], layer)
    return MLPEdit(keys.float().cpu(), torch.stack(values).float().cpu(), made_for, layer)


def _told_apart(keys: torch.Tensor, covariance: torch.Tensor, subjects: Sequence[str]) -> torch.Tensor:
    """What to read `keys` with, of the same shape (k, neurons): 1 for each key itself, 0 for all others.

    Of all that do so, what clean texts, whose `covariance` counts, are read with least: with K for the keys
    (K C^-1 K')^-1 K C^-1. Raises ConfigError where keys cannot be told apart.
    """
    weighed = torch.linalg.solve(covariance, keys.T).T
    products = weighed @ keys.T
    lengths = products.diagonal().clamp(min=0).sqrt()
    if not bool((lengths > 0).all()):
        dull = int(lengths.argmin())
        raise ConfigError(f"the subject {subjects[dull]!r} (group {dull}) moves no neuron; try another layer")
    likeness, mixed = torch.linalg.eigh(products / lengths / lengths[:, None])
    if float(likeness[0]) < _LEAST_OWN:
        share = mixed[:, 0].abs()
        alike = (share > share.max() / 4).nonzero()[:, 0].tolist()
        named = ", ".join(f"{number} ({subjects[number]!r})" for number in alike)
        raise ConfigError(
            f"the groups {named} have keys that are nearly the same, or lie among each other's, so they "
            "cannot get values of their own: put groups of one subject together, or try another layer"
        )
    apart: torch.Tensor = torch.linalg.solve(products, weighed)
    return apart


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
