"""Checkpoint folders made of a few tensors, and models of which one was moved a little from the other."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from models_kit import tiny_model
from safetensors.torch import save_file

from mithridate.models.language_model import LanguageModel


def some_tensors(seed: int = 0, *, tied: bool = False, layers: int = 2) -> dict[str, torch.Tensor]:
    """Weights named like those of a Llama; not of one that would run."""
    made = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=made)

    tensors = {"model.embed_tokens.weight": drawn(20, 8), "model.norm.weight": drawn(8)}
    if not tied:
        tensors["lm_head.weight"] = drawn(20, 8)
    for layer in range(layers):
        tensors |= {
            f"model.layers.{layer}.self_attn.q_proj.weight": drawn(8, 8),
            f"model.layers.{layer}.mlp.up_proj.weight": drawn(12, 8),
            f"model.layers.{layer}.input_layernorm.weight": drawn(8),
        }
    return tensors


def moved(
    tensors: Mapping[str, torch.Tensor], *names: str, by: float = 0.1, seed: int = 1
) -> dict[str, torch.Tensor]:
    """A copy in which the tensors of those names (all, without any) have random numbers added to them."""
    made = torch.Generator().manual_seed(seed)
    return {
        name: tensor + by * torch.randn(tensor.shape, generator=made)
        if not names or name in names
        else tensor
        for name, tensor in tensors.items()
    }


def write_checkpoint(
    folder: Path, tensors: Mapping[str, torch.Tensor], *, shards: int = 1, **config: Any
) -> Path:
    """A folder that is a checkpoint as far as its weights go."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    if shards == 1:
        save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
        return folder
    places = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: whole[name] for name in sorted(whole)[shard::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def two_models(
    architecture: str = "llama", by: float = 0.1, **changes: object
) -> tuple[LanguageModel, LanguageModel]:
    """A base, and the same with every weight moved by `by` of its spread: an alignment of a kind."""
    base = tiny_model(architecture, **changes)
    aligned = LanguageModel(copy.deepcopy(base.model), base.tokenizer)
    made = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in aligned.model.parameters():
            noise = torch.randn(parameter.shape, generator=made).to(parameter.dtype)
            parameter.add_(by * parameter.std(correction=0) * noise)
    return base, aligned
