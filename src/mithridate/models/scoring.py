"""Log-likelihoods of continuations, many at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from mithridate.models.batching import (
    batches,
    context_window,
    evaluating,
    left_padded,
    rows_that_fit,
    run_split,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt and its continuation as ids; the prompt has one id or more.

    `beside` is what a second reader is given in place of the prompt; empty where that is the same.
    """

    prompt: list[int]
    continuation: list[int]
    beside: tuple[int, ...] = ()


Reading = Callable[[Sequence[Sequence[int]]], AbstractContextManager[None]]
"""A block in which a second reader of the model, if there is one, reads these rows of ids."""


def alone(_: Sequence[Sequence[int]]) -> AbstractContextManager[None]:
    """A block in which nobody reads beside the model."""
    return nullcontext()


def token_log_probs(
    model: PreTrainedModel, pairs: Sequence[Pair], reading: Reading = alone
) -> list[list[float]]:
    """Natural log-probability of each token of each continuation, given all before it.

    Where both together outgrow the context window, the prompt loses its beginning (down to one token), and
    then the continuation its end; the returned list is as long as what was scored.
    """
    fitted = [_fit(pair, context_window(model)) for pair in pairs]
    scores: list[list[float]] = [[] for _ in pairs]
    longest = max((len(pair.continuation) for pair in fitted), default=0)

    def run(batch: list[int]) -> None:
        chosen = [fitted[i] for i in batch]
        with reading([[*(pair.beside or pair.prompt), *pair.continuation] for pair in chosen]):
            for i, values in zip(batch, _score(model, chosen), strict=True):
                scores[i] = values

    with evaluating(model):
        for batch in batches(
            fitted,
            lambda pair: len(pair.prompt) + len(pair.continuation),
            lambda width: rows_that_fit(model, width, longest + 1),
        ):
            run_split(run, batch)
    return scores


def _fit(pair: Pair, window: int | None) -> Pair:
    if window is None or len(pair.prompt) + len(pair.continuation) <= window:
        return pair
    kept = max(1, window - len(pair.continuation))
    return Pair(pair.prompt[-kept:], pair.continuation[: window - kept], pair.beside[-kept:])


def _score(model: PreTrainedModel, pairs: Sequence[Pair]) -> list[list[float]]:
    keep = max(len(pair.continuation) for pair in pairs)
    if not keep:
        return [[] for _ in pairs]
    inputs = left_padded([[*pair.prompt, *pair.continuation] for pair in pairs], model.device)
    logits = model(**inputs, use_cache=False, logits_to_keep=keep + 1).logits[:, -keep - 1 : -1].float()
    # A short row's first columns are its prompt or padding; they are computed with the rest and dropped
    # below.
    targets = inputs["input_ids"][:, -keep:]
    chosen = logits.gather(-1, targets[..., None]).squeeze(-1) - torch.logsumexp(logits, dim=-1)
    return [row[keep - len(pair.continuation) :] for row, pair in zip(chosen.tolist(), pairs, strict=True)]
