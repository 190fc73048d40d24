"""In which precision a training computes, on how many threads, and with which attention."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel

from mithridate.training.options import Precision

# Above this length the score matrix that eager attention writes out costs more than the kernel it saves.
EAGER_TOKENS = 256


def uses_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether matrices are multiplied in bf16; weights and optimiser state stay in fp32 either way.

    "auto" says yes where the processor multiplies bf16 by itself: recent GPUs, CPUs with AVX512-BF16 or AMX.
    Emulated, it is several times slower than fp32.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def gpu_name(device: torch.device) -> str | None:
    """What the maker calls the GPU that `device` is; None for a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with `count` CPU threads (None: as many as before), and give back the setting afterwards."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def short_row_attention(model: PreTrainedModel, *, row_tokens: int, device: torch.device) -> Iterator[None]:
    """On a CPU, attend eagerly to short rows, which beats the fused kernel there; undone afterwards."""
    before = model.config._attn_implementation
    if device.type != "cpu" or row_tokens > EAGER_TOKENS or before != "sdpa":
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
