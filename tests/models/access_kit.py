"""Small decoders of several kinds, texts for them, and the hooks that they carry."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from models_kit import ARCHITECTURES, tiny_model
from torch import nn
from transformers import PreTrainedModel

from mithridate.core.errors import AccessError
from mithridate.models.batching import left_padded
from mithridate.models.checkpoints import load_model

# Gemma 2 has norms behind its branches, and caps its logits; Falcon changes tensors in place.
DECODERS = (*ARCHITECTURES, "gemma2")
ROWS = [[5, 6, 7, 8, 9, 10], [11, 12, 13]]
STORIES = Path(os.environ.get("MITHRIDATE_SHARED", "../shared")) / "models" / "stories260K"


def decoder(
    architecture: str = "llama", seed: int = 0, layers: int = 3, **changes: object
) -> PreTrainedModel:
    """A decoder of random weights. Norms are spread out too, as they are after training."""
    model = tiny_model(architecture, seed, layers=layers, **changes).model.eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += torch.randn(parameter.shape, generator=generator) / 4
    return model


def stories() -> PreTrainedModel:
    if not STORIES.exists():
        pytest.skip("no shared checkpoints")
    return load_model(STORIES)[0]


def batch(rows: list[list[int]] = ROWS) -> dict[str, torch.Tensor]:
    return left_padded(rows, torch.device("cpu"))


def logits(model: PreTrainedModel, **inputs: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(**(inputs or batch())).logits
    return found


def written(model: PreTrainedModel, rows: list[list[int]] = ROWS, new: int = 5) -> list[list[int]]:
    """What `model` writes on, greedily, with a cache."""
    inputs = batch(rows)
    del inputs["position_ids"]  # generation makes its own
    ids = model.generate(**inputs, max_new_tokens=new, do_sample=False, pad_token_id=0, eos_token_id=None)
    return [row[-new:] for row in ids.tolist()]


def refused(said: str) -> Any:
    """A block that must end in an AccessError whose message matches `said`."""
    return pytest.raises(AccessError, match=said)


def hooks_of(model: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs")
    kinds += ("_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)
