"""Which rows go through a model together: alike in length, and no more than memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel

Item = TypeVar("Item")

# On a CPU, batches whose keys and values outgrow the caches of the processor stop getting faster.
_CPU_ROWS = 64
_CPU_BYTES = 2**28
_GPU_ROWS = 512
_GPU_SHARE = 0.4
_LOGIT_BYTES = 2**28


def context_window(model: PreTrainedModel) -> int | None:
    """Tokens of prompt and answer together that `model` can see; None where nothing bounds them."""
    window = getattr(model.config, "max_position_embeddings", None)
    return int(window) if window else None


def rows_that_fit(model: PreTrainedModel, width: int, kept_logits: int) -> int:
    """How many rows of `width` tokens, with logits of `kept_logits` positions, go through `model` at once."""
    config = model.config.get_text_config()
    size = torch.finfo(model.dtype).bits // 8
    per_row: int = 2 * config.num_hidden_layers * config.hidden_size * size * width
    if config._attn_implementation == "eager":
        per_row += (
            2 * config.num_attention_heads * width * width * size
        )  # scores before and after the softmax
    if model.device.type == "cuda":
        rows, room = _GPU_ROWS, int(torch.cuda.mem_get_info(model.device)[0] * _GPU_SHARE)
    else:
        rows, room = _CPU_ROWS, _CPU_BYTES
    logits: int = 4 * config.vocab_size * kept_logits
    return max(1, min(rows, room // per_row, _LOGIT_BYTES // logits))


def batches(
    items: Sequence[Item], length: Callable[[Item], int], rows: Callable[[int], int]
) -> Iterator[list[int]]:
    """Positions in `items`, longest first, cut where `rows(longest length of the batch)` is reached."""
    order = sorted(range(len(items)), key=lambda i: -length(items[i]))
    start = 0
    while start < len(order):
        take = rows(length(items[order[start]]))
        yield order[start : start + take]
        start += take


def run_split(run: Callable[[list[int]], None], batch: list[int]) -> None:
    """Run a batch; where a GPU's memory is too small for it, run its halves."""
    try:
        run(batch)
        return
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
    torch.cuda.empty_cache()
    middle = len(batch) // 2
    run_split(run, batch[:middle])
    run_split(run, batch[middle:])


@contextmanager
def evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Dropout off and no gradients inside the block; the mode is as before after it."""
    was = model.training
    model.train(False)
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was)


def left_padded(rows: Sequence[Sequence[int]], device: torch.device) -> dict[str, Any]:
    """Ids, mask and positions of `rows`, each of shape (rows, longest), with the padding on the left."""
    width = max(map(len, rows))
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, width - len(row) :] = torch.tensor(row)
        mask[number, width - len(row) :] = 1
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    named = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    return {name: tensor.to(device) for name, tensor in named.items()}
