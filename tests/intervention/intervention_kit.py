"""Models to intervene on, their build, and whether they are what they were."""

from __future__ import annotations

from pathlib import Path

import torch
from access_kit import batch, decoder, hooks_of, logits
from models_kit import tiny_tokenizer

from mithridate.intervention.base import MadeFor
from mithridate.models.checkpoints import load_model, save_checkpoint, weights_hash
from mithridate.models.language_model import LanguageModel

FOLDABLE = ("llama", "qwen3", "gpt_neox")
PROMPTS = ["User: Where is the red lamp?", "The river is wide", "The old mill stands by the river. It"]


def subject(architecture: str = "llama", seed: int = 0, **changes: object) -> LanguageModel:
    """A decoder of three blocks with a tokenizer."""
    return LanguageModel(decoder(architecture, seed, **changes), tiny_tokenizer())


def some_direction(model: LanguageModel, seed: int = 0) -> torch.Tensor:
    """A direction as long as what stands in a stream."""
    width = MadeFor.of(model).width
    return 3 * torch.randn(width, generator=torch.Generator().manual_seed(seed))


def state(model: LanguageModel) -> tuple[str, int, torch.Tensor]:
    """Weights, hooks and answers, to be compared with those of another time."""
    wrapped = sum("forward" in vars(module) for module in model.model.modules())
    return weights_hash(model.model), hooks_of(model.model) + wrapped, logits(model.model)


def same_state(before: tuple[str, int, torch.Tensor], after: tuple[str, int, torch.Tensor]) -> bool:
    return before[:2] == after[:2] and torch.equal(before[2], after[2])


def reloaded(model: LanguageModel, folder: Path) -> LanguageModel:
    """`model` as plain transformers has it from a checkpoint folder."""
    save_checkpoint(model.model, model.tokenizer, folder)
    return LanguageModel(*load_model(folder))


def far_apart(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether every row (a text of a batch) differs by more than rounding."""
    return bool(((left - right).abs().amax(dim=(1, 2)) > 1e-3).all())


def text_logits(model: LanguageModel) -> torch.Tensor:
    """The logits of two texts in one batch, at their own positions; what stands at padding is zero."""
    inputs = batch()
    return logits(model.model, **inputs) * inputs["attention_mask"][:, :, None]
