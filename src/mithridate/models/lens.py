"""The logit lens: what a model would say if a layer's residual stream were its last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from mithridate.core.errors import AccessError
from mithridate.models.access import parts_of


def logit_lens(model: PreTrainedModel, hidden: torch.Tensor) -> torch.Tensor:
    """Logits of shape (..., positions, vocabulary) from a residual stream of shape (..., positions, width).

    The logit lens (nostalgebraist 2020; see Belrose et al. 2303.08112): the final norm, the head, and what
    the model does to logits behind it (Gemma 2 caps them, Cohere scales them), so that the last block's
    output gives the model's own logits. Raises AccessError where no final norm was found, or for a stream of
    another width.
    """
    parts = parts_of(model)
    width = model.config.get_text_config().hidden_size
    if parts.final_norm is None:
        raise AccessError(
            f"{parts.name}: there is no lens for it, because what its head is given is not the last block's "
            "output through one norm"
        )
    if hidden.ndim < 2 or hidden.shape[-1] != width:
        raise AccessError(
            f"hidden states have the shape {tuple(hidden.shape)}; expected (..., positions, width), with the "
            f"width {width} of {parts.name}"
        )
    rows = hidden.reshape(-1, *hidden.shape[-2:]).to(next(parts.head.parameters()))
    made = parts.output_type(last_hidden_state=parts.final_norm(rows))
    with _returning(parts.decoder, made):
        ids = torch.zeros(rows.shape[:2], dtype=torch.long, device=rows.device)
        logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits
    return logits.reshape(*hidden.shape[:-1], logits.shape[-1])


@contextmanager
def _returning(decoder: nn.Module, made: Any) -> Iterator[None]:
    """Let `decoder` return `made` at once: the code above it is the model's own way to logits."""
    own = vars(decoder).get("forward")

    @wraps(decoder.forward)
    def forward(*_: Any, **__: Any) -> Any:
        return made

    vars(decoder)["forward"] = forward
    try:
        yield
    finally:
        if own is None:
            del vars(decoder)["forward"]
        else:
            vars(decoder)["forward"] = own
