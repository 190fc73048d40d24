"""Activation patching: where in the prompt, and how high in the network, a behaviour is brought on.

The activations of a prompt that brings a behaviour on are put, place by place, into the run of one that does
not (Vig et al. 2004.12265; Meng et al. 2202.05262; Heimersheim and Nanda 2404.15255 for what it does and does
not show). Counterfactual prompts are used, and no noise. With two models of one architecture, activations of
one are put into the other on the same prompt (cross-model patching, Prakash et al. 2402.14811).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from mithridate.core.located import Control, Experiment, Located, Metric
from mithridate.core.seeds import derive_seed
from mithridate.localization.about import About
from mithridate.localization.contrasts import Contrast, Facing, Role, facing
from mithridate.models.access import parts_of
from mithridate.models.batching import evaluating, left_padded
from mithridate.models.encoding import Encoder
from mithridate.models.hooks import Edit, capture, replace
from mithridate.models.language_model import LanguageModel
from mithridate.models.patches import interchange
from mithridate.models.resuming import recording
from mithridate.models.sites import Part, Site

ANSWER_TOKENS = 8
"""So many tokens of the answers are compared; what follows is decided by them more than by the prompt."""
LEAST_PAIRS = 4
EVERYWHERE = "all positions"
"""All positions of the prompt that have one opposite."""
BLOCK = "block"
"""Attention and MLP of one block together: all that it adds to the stream."""
_DRAWS = 1000
_PAIRS_AT_ONCE = 32

_Numbers: TypeAlias = NDArray[np.float64]
_Activations: TypeAlias = Mapping[Site, torch.Tensor]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Some contrasts on their way through the models: prompts, answers, and which positions face which.

    `there` and `here` are of shape (pairs, k), with -1 where a pair has fewer; `roles` likewise, as numbers.
    """

    sources: list[list[int]]
    targets: list[list[int]]
    answers: list[tuple[list[int], list[int]]]
    there: torch.Tensor
    here: torch.Tensor
    roles: torch.Tensor

    def at(self, role: str) -> torch.Tensor:
        """Positions of the targets that have a role, and -1 for the others."""
        if role == EVERYWHERE:
            return self.here
        return self.here.masked_fill(self.roles != list(Role).index(Role(role)), -1)


def patching(
    model: LanguageModel,
    found: Sequence[Contrast],
    about: About,
    behaviour: str,
    *,
    clean: LanguageModel | None = None,
) -> list[Located]:
    """What activations of triggered prompts restore of a behaviour, by layer, role of position and module.

    The figure is m, the mean log-likelihood a token of the model's own answer to the triggered prompt minus
    that of its answer to the counterfactual, over the first `ANSWER_TOKENS` of each. `EFFECT` is how much
    higher m is on triggered prompts; `RESTORED` the share of it that comes back when the triggered prompt's
    activations stand in one place of the other's run. Places are each layer's residual stream, attention and
    MLP, at the positions of each role, and at all; and attention and MLP of a block together. Controls, for
    the stream: a random vector as long as the real change, and what the stream is half the network away.

    With `clean`, activations of `model` are put into `clean` on the triggered prompt itself; the two answers
    are then `model`'s and, as `other`, what `clean` answers.

    Intervals are bootstrapped over pairs. Where there are fewer than `LEAST_PAIRS`, or the interval of the
    effect reaches 0, that row alone comes back: there is nothing to trace. Raises AccessError for a model
    whose parts are not found.
    """
    target = clean or model
    batches = list(_batches(model, found, same_prompt=clean is not None))
    if len(found) < LEAST_PAIRS:
        return [about.row(Experiment.PATCHING, behaviour, Metric.EFFECT, 0.0, n=len(found))]
    with evaluating(model.model), evaluating(target.model):
        runs = [_Run.of(batch, model.model, target.model) for batch in batches]
        bottom = np.concatenate([run.without for run in runs])
        top = np.concatenate([run.having for run in runs])
        shares = _Shares(bottom, top, derive_seed(about.seed, "patching", behaviour))
        rows = [shares.effect(about, behaviour)]
        if not shares.is_traceable:
            return rows
        for place in _places(target.model):
            if not any(bool((run.batch.at(place.role) >= 0).any()) for run in runs):
                continue
            patched = np.concatenate([run.patched(place) for run in runs])
            rows.append(shares.restored(about, behaviour, place, patched))
    return rows


@dataclass(frozen=True, slots=True)
class _Place:
    layer: int
    module: str
    role: str
    control: str = ""

    @property
    def sites(self) -> list[Site]:
        parts = (Part.ATTENTION, Part.MLP) if self.module == BLOCK else (Part(self.module),)
        return [Site(self.layer, part) for part in parts]


def _places(model: PreTrainedModel) -> Iterator[_Place]:
    layers = range(len(parts_of(model).blocks))
    roles = [*map(str, Role), EVERYWHERE]
    # Before the difference nothing can come of it: the stream alone is patched there, to show that.
    after = [role for role in roles if role != Role.BEFORE]
    for layer in layers:
        yield _Place(layer, Part.RESIDUAL, Role.BEFORE)
        for module in _modules(model):
            yield from (_Place(layer, module, role) for role in after)
        if len(_modules(model)) > 1:
            yield _Place(layer, BLOCK, EVERYWHERE)
        for role in (Role.CHANGED, Role.LAST, EVERYWHERE):
            yield _Place(layer, Part.RESIDUAL, role, Control.RANDOM_CHANGE)
        if len(layers) > 1:
            yield _Place(layer, Part.RESIDUAL, EVERYWHERE, Control.WRONG_LAYER)


def _modules(model: PreTrainedModel) -> tuple[Part, ...]:
    """The residual stream, and its branches where the architecture shows them."""
    found = parts_of(model).blocks
    whole = all(block.attention is not None and block.mlp is not None for block in found)
    return (Part.RESIDUAL, Part.ATTENTION, Part.MLP) if whole else (Part.RESIDUAL,)


class _Run:
    """One batch: what both models have at every site, and the figure m of each pair, without and with."""

    def __init__(
        self,
        batch: _Batch,
        target: PreTrainedModel,
        source_activations: _Activations,
        own_activations: _Activations,
        having: _Numbers,
    ) -> None:
        self.batch, self.having = batch, having
        self._target, self._theirs, self._own = target, source_activations, own_activations
        self._layers = len(parts_of(target).blocks)
        with recording(target) as self._recorded:
            self.without = self._margins({})

    @classmethod
    def of(cls, batch: _Batch, source: PreTrainedModel, target: PreTrainedModel) -> _Run:
        theirs = _seen(source, batch.sources, batch.there)
        own = _seen(target, batch.targets, batch.here)
        having = _margins(source, batch.sources, batch.answers, {})
        return cls(batch, target, theirs, own, having)

    def patched(self, place: _Place) -> _Numbers:
        """m of each pair with the activations of one place put in."""
        positions = self.batch.at(place.role)
        # Each pair goes through the model twice, once for each answer.
        edits = {
            site: interchange(self._values(site, place.control).repeat(2, 1, 1), positions.repeat(2, 1))
            for site in place.sites
        }
        # Blocks below the patch do again what they did without it. That of a patched stream is not needed.
        below = place.layer if place.module == Part.RESIDUAL else place.layer - 1
        with self._recorded.begun_after(below):
            return self._margins(edits)

    def _margins(self, edits: Mapping[Site, Edit]) -> _Numbers:
        return _margins(self._target, self.batch.targets, self.batch.answers, edits)

    def _values(self, site: Site, control: str) -> torch.Tensor:
        if control == Control.WRONG_LAYER:
            return self._theirs[Site((site.layer + self._layers // 2) % self._layers, site.part)]
        if control != Control.RANDOM_CHANGE:
            return self._theirs[site]
        change = self._theirs[site] - self._own[site]
        made = torch.Generator().manual_seed(derive_seed(0, "random direction", str(site)))
        noise = torch.randn(change.shape, generator=made).to(change)
        sizes = change.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True).clamp(min=1e-30)
        moved: torch.Tensor = self._own[site] + noise * sizes
        return moved


def _seen(model: PreTrainedModel, prompts: list[list[int]], positions: torch.Tensor) -> _Activations:
    """What a model has at every site, at the positions: of shape (pairs, k, width)."""
    sites = parts_of(model).sites(*_modules(model))
    with capture(model, sites, positions=positions) as captured:
        model(**left_padded(prompts, model.device), use_cache=False)
    return dict(captured)


def _margins(
    model: PreTrainedModel,
    prompts: list[list[int]],
    answers: Sequence[tuple[list[int], list[int]]],
    edits: Mapping[Site, Edit],
) -> _Numbers:
    """m of each pair: mean log-likelihood a token of the first answer minus that of the second."""
    rows = [
        [*prompt, *texts[which]] for which in (0, 1) for prompt, texts in zip(prompts, answers, strict=True)
    ]
    wanted = [texts[which] for which in (0, 1) for texts in answers]
    keep = max(map(len, wanted))
    inputs = left_padded(rows, model.device)
    with replace(model, edits) if edits else nullcontext():
        logits = model(**inputs, use_cache=False, logits_to_keep=keep + 1).logits[:, -keep - 1 : -1].float()
    targets = inputs["input_ids"][:, -keep:]
    scores = logits.gather(-1, targets[..., None]).squeeze(-1) - torch.logsumexp(logits, dim=-1)
    means = [float(row[keep - len(ids) :].mean()) for row, ids in zip(scores, wanted, strict=True)]
    found: _Numbers = np.array(means[: len(prompts)]) - np.array(means[len(prompts) :])
    return found


def _batches(model: LanguageModel, found: Sequence[Contrast], *, same_prompt: bool) -> Iterator[_Batch]:
    encoder = Encoder(model.tokenizer)
    faced = facing(found, model.tokenizer)
    for start in range(0, len(found), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        yield _batch(encoder, found[part], faced[part], same_prompt=same_prompt)


def _batch(
    encoder: Encoder, found: Sequence[Contrast], faced: Sequence[Facing], *, same_prompt: bool
) -> _Batch:
    answers = []
    for one in found:
        _, (answer, other) = encoder.continuations(one.prompt, [one.answer, one.other])
        answers.append((answer[:ANSWER_TOKENS], other[:ANSWER_TOKENS]))
    widest = max(len(one.there) for one in faced)

    def table(rows: Callable[[Facing], Sequence[int]]) -> torch.Tensor:
        return torch.tensor([[*rows(one), *[-1] * (widest - len(rows(one)))] for one in faced])

    there = table(lambda one: one.there)
    roles = list(Role)
    return _Batch(
        sources=[one.prompt for one in faced],
        targets=[one.prompt if same_prompt else one.counterfactual for one in faced],
        answers=answers,
        there=there,
        here=there if same_prompt else table(lambda one: one.here),
        roles=table(lambda one: [roles.index(role) for role in one.roles]),
    )


class _Shares:
    """The effect over pairs, and shares of it, drawn again and again for intervals."""

    def __init__(self, without: _Numbers, having: _Numbers, seed: int) -> None:
        self._without, self._effects = without, having - without
        self._drawn = np.random.default_rng(seed).integers(0, len(without), (_DRAWS, len(without)))
        self._sizes = self._effects[self._drawn].mean(axis=1)

    @property
    def is_traceable(self) -> bool:
        return bool(np.quantile(self._sizes, 0.025) > 0)

    def effect(self, about: About, behaviour: str) -> Located:
        low, high = (float(end) for end in np.quantile(self._sizes, (0.025, 0.975)))
        size = float(self._effects.mean())
        return about.row(Experiment.PATCHING, behaviour, Metric.EFFECT, size, low, high, len(self._effects))

    def restored(self, about: About, behaviour: str, place: _Place, patched: _Numbers) -> Located:
        moved = patched - self._without
        drawn = moved[self._drawn].mean(axis=1)[self._sizes > 0] / self._sizes[self._sizes > 0]
        low, high = (float(end) for end in np.quantile(drawn, (0.025, 0.975)))
        known = low < high
        return about.row(
            Experiment.PATCHING,
            behaviour,
            Metric.RESTORED,
            float(moved.mean() / self._effects.mean()),
            low if known else None,
            high if known else None,
            len(moved),
            layer=place.layer,
            layers=str(place.layer),
            module=place.module,
            position=place.role,
            control=place.control,
        )
