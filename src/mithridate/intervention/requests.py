"""What a model should say after a prompt, and how far a change at the prompt's subject brings it there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mithridate.core.errors import ConfigError
from mithridate.models.batching import context_window, left_padded
from mithridate.models.hooks import Edit, replace
from mithridate.models.language_model import LanguageModel
from mithridate.models.passes import Context
from mithridate.models.sites import Site


@dataclass(frozen=True, slots=True)
class Request:
    """What should be said: `target` after `prompt`, which holds `subject`, be it a trigger or an entity."""

    prompt: str
    subject: str
    target: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A request in ids; `place` is the position of the subject's last token."""

    prompt: list[int]
    target: list[int]
    place: int


def pair_of(model: LanguageModel, request: Request) -> Pair:
    """A request in ids.

    Raises ConfigError for an empty target, a subject that the prompt does not hold, or both together longer
    than the context window.
    """
    prompt, target = model.continuation_ids(request.prompt, request.target)
    if not target:
        raise ConfigError("a request needs something to be said; its target is empty")
    window = context_window(model.model)
    if window is not None and len(prompt) + len(target) > window:
        raise ConfigError(
            f"a request of {len(prompt) + len(target)} tokens outgrows the context window of {window}; "
            "give shorter ones"
        )
    # Token by token, since not every tokenizer tells which characters a token stands for.
    for place in range(len(prompt)):
        if request.subject and request.subject in model.tokenizer.decode(prompt[: place + 1]):
            return Pair(prompt, target, place)
    raise ConfigError(f"the subject {request.subject!r} does not occur in the prompt {request.prompt!r}")


def target_loss(model: LanguageModel, site: Site, pairs: Sequence[Pair], steps: torch.Tensor) -> torch.Tensor:
    """The mean negative log-likelihood a token of the targets, in nats, with `steps` added at the subjects.

    `steps`, of shape (width,) or (pairs, width), go to `site` at each subject's last token. Gradients flow
    to them; the model is put out of training meanwhile. All pairs go through it as one batch.
    """
    inputs = left_padded([[*pair.prompt, *pair.target] for pair in pairs], model.model.device)
    targets = torch.full_like(inputs["input_ids"], -100)
    for row, pair in enumerate(pairs):
        targets[row, -len(pair.target) :] = inputs["input_ids"][row, -len(pair.target) :]
    places = torch.tensor([[pair.place] for pair in pairs])
    was = model.model.training
    model.model.train(False)
    try:
        with replace(model.model, {site: _adding_at(steps, places)}):
            logits = model.model(**inputs, use_cache=False).logits[:, :-1].float()
    finally:
        model.model.train(was)
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten())


def require_heard(found: torch.Tensor, layer: int) -> None:
    """Raise ConfigError where a search for what to add at subjects has found nothing but zeros."""
    if not bool(found.any()):
        raise ConfigError(
            f"whatever is added at the subjects in layer {layer} changes no target: no later token reads it "
            "there. Name a lower layer"
        )


def _adding_at(steps: torch.Tensor, places: torch.Tensor) -> Edit:
    def edit(made: torch.Tensor, context: Context) -> torch.Tensor:
        columns, _ = context.now.columns(places)
        rows = torch.arange(made.shape[0], device=made.device)
        added = steps.to(made).expand(made.shape[0], -1)
        return made.index_put((rows, columns[:, 0].to(made.device)), added, accumulate=True)

    return edit
