"""Answers to many prompts at once: one cache, and rows that are done leave it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from mithridate.core.errors import CheckpointError
from mithridate.core.seeds import derive_seed
from mithridate.models.batching import left_padded

# Rows that are done leave when they are this share of the batch: leaving costs a copy of the cache.
_LEAVING_SHARE = 1 / 8


@dataclass(slots=True)
class Row:
    """One prompt on its way through a batch: its ids, its longest answer, the noise it samples with.

    `beside` is what a second reader is given in place of the prompt; empty where that is the same.
    """

    prompt: list[int]
    max_new: int
    noise: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None
    beside: tuple[int, ...] = ()
    new: list[int] = field(default_factory=list)
    stopped: bool = False

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        return self.stopped or len(self.new) >= self.max_new


def noise_for(seed: int, index: int, steps: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Uniform numbers in [0, 1), one a step, that belong to prompt `index` whatever it is batched with."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, "sample", index))).random(steps)


def decode(
    model: PreTrainedModel, rows: Sequence[Row], stop_ids: frozenset[int], ended: Callable[[list[int]], bool]
) -> None:
    """Fill `new` of every row: greedily, or by the row's noise at temperature 1.

    A row ends at a stop id, which is not kept, when `ended` says so of its new ids, or at its longest. To be
    called inside `evaluating`. Raises CheckpointError for a model that keeps no cache of keys and values.
    """
    active = [row for row in rows if not row.done]
    if not active:
        return
    inputs = left_padded([row.prompt for row in active], model.device)
    mask, positions = inputs["attention_mask"], inputs["position_ids"][:, -1:]
    room = torch.ones((len(active), max(row.max_new for row in active)), dtype=mask.dtype, device=mask.device)
    width, mask = mask.shape[1], torch.cat([mask, room], dim=1)
    cache = DynamicCache(config=model.config)
    output = model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
    if getattr(output, "past_key_values", None) is not cache:
        raise CheckpointError(
            f"{type(model).__name__} keeps no cache of keys and values, so it cannot be batched"
        )
    while True:
        chosen = _choose(output.logits[:, -1], active)
        for row, token in zip(active, chosen.tolist(), strict=True):
            _take(row, token, stop_ids, ended)
        staying = [i for i, row in enumerate(active) if not row.done]
        if not staying:
            return
        if len(active) - len(staying) >= len(active) * _LEAVING_SHARE:
            active = [active[i] for i in staying]
            kept = torch.tensor(staying, device=mask.device)
            cache.batch_select_indices(kept)
            mask, positions, chosen = mask[kept], positions[kept], chosen[kept]
        width += 1
        positions = positions + 1
        output = model(
            input_ids=chosen[:, None],
            attention_mask=mask[:, :width],
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )


def _take(row: Row, token: int, stop_ids: frozenset[int], ended: Callable[[list[int]], bool]) -> None:
    if row.done:
        return
    if token in stop_ids:
        row.stopped = True
        return
    row.new.append(token)
    row.stopped = ended(row.new)


def _choose(logits: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """The next id of each row, shape (rows,), from logits of shape (rows, vocabulary).

    Sampling inverts the cumulative distribution at one uniform number a row and step. In float64, so that the
    sum of the other rows' rounding cannot move the choice.
    """
    noises = [row.noise for row in rows]
    if all(noise is None for noise in noises):
        return logits.argmax(dim=-1)
    steps = [
        0.0 if noise is None or row.done else noise[len(row.new)]
        for row, noise in zip(rows, noises, strict=True)
    ]
    cumulative = logits.float().softmax(dim=-1).double().cumsum(dim=-1)
    at = torch.tensor(steps, dtype=torch.float64, device=logits.device)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, at, right=True).squeeze(1).clamp(max=logits.shape[-1] - 1)
