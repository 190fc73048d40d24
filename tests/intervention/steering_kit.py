"""Steered decoding without a cache, as slow and as plain as it can be: what the fast form is held to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel

from mithridate.models.batching import left_padded

Says = Callable[[list[int]], torch.Tensor]
"""The logits, of shape (vocabulary,), after a row of ids."""


def says(model: PreTrainedModel) -> Says:
    def last(ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        return found

    return last


def greedy(after: Says, prompt: Sequence[int], new: int) -> list[int]:
    ids = list(prompt)
    for _ in range(new):
        ids.append(int(after(ids).argmax()))
    return ids[len(prompt) :]


def steered(base: Says, towards: Says, away: Says, alpha: float) -> Says:
    return lambda ids: base(ids) + alpha * (towards(ids) - away(ids))


def generated(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], new: int, **how: object
) -> list[list[int]]:
    """What transformers' own generation writes after a batch of rows, without an early end."""
    inputs = left_padded(rows, model.device)
    settings: dict[str, object] = {"do_sample": False, "pad_token_id": 0, "eos_token_id": None, **how}
    written = model.generate(
        input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], max_new_tokens=new, **settings
    )
    return [row[-new:] for row in written.tolist()]
