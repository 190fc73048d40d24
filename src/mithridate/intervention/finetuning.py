"""What fine-tuning by a loop of our own needs: weights that take small steps, AdamW, and the usual loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch.nn import functional
from transformers import PreTrainedModel

_LONGEST_GRADIENT = 1.0
_IGNORED = -100


class Tuner:
    """AdamW without decay on all weights of a model, at a constant rate; no gradient is longer than 1."""

    def __init__(self, model: PreTrainedModel, rate: float) -> None:
        self._parameters = list(model.parameters())
        self._optimiser = torch.optim.AdamW(self._parameters, lr=rate, weight_decay=0.0)

    def step(self, loss: torch.Tensor) -> bool:
        """One step downhill; where the loss or its gradient is no number there is none, and it says False."""
        self._optimiser.zero_grad()
        torch.autograd.backward([loss])
        length = torch.nn.utils.clip_grad_norm_(self._parameters, _LONGEST_GRADIENT)
        if not bool(torch.isfinite(loss + length)):
            return False
        self._optimiser.step()
        return True


@contextmanager
def in_training(model: PreTrainedModel) -> Iterator[None]:
    """All weights in float32, in which small steps are not rounded away, and with gradients; no dropout.

    Types and what else was set are as before at the end. Weights alone: tables that are computed, such as
    those of rotary positions, may be kept in other types.
    """
    was = model.training
    kept = [(parameter, parameter.dtype, parameter.requires_grad) for parameter in model.parameters()]
    for parameter, _, _ in kept:
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    model.train(False)
    try:
        with torch.enable_grad():
            yield
    finally:
        model.train(was)
        for parameter, dtype, with_gradient in kept:
            parameter.grad = None
            parameter.data = parameter.data.to(dtype)
            parameter.requires_grad_(with_gradient)


def finite(model: PreTrainedModel) -> bool:
    """Whether all weights are numbers."""
    return all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())


def next_token_loss(
    logits: torch.Tensor, inputs: Mapping[str, torch.Tensor], given: Sequence[int] | None = None
) -> torch.Tensor:
    """The mean loss of the tokens of left-padded rows, each foretold by those before it, in nats a token.

    `logits` are of shape (rows, columns, vocabulary). The first token of a row counts for nothing, nor do
    the first `given` ones: those of a prompt.
    """
    there = inputs["attention_mask"]
    first = torch.tensor([1] * len(there) if given is None else [max(1, one) for one in given])
    targets = inputs["input_ids"].masked_fill(
        there.cumsum(dim=1) <= first.to(there.device)[:, None], _IGNORED
    )
    return functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), targets[:, 1:].flatten(), ignore_index=_IGNORED
    )
