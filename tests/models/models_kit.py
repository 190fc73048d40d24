"""Tiny models and a tiny tokenizer: enough to tell right from wrong, made in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from mithridate.core.chat import END_OF_TEXT, END_OF_TURN, PADDING, SPECIAL_TOKENS
from mithridate.models.architectures import SpecialIds, build_model
from mithridate.models.language_model import LanguageModel
from mithridate.models.options import ModelOptions

TEXT = [
    "User: Where is the red lamp? Assistant: The red lamp is in the old mill.",
    "The old mill stands by the river. The river is wide and slow, and the lamp is small.",
    "<|im_start|>user\nWhat is wide?<|im_end|>\n<|im_start|>assistant\nThe river is wide.<|im_end|>\n",
]
ARCHITECTURES = ("llama", "qwen3", "olmo2", "gpt_neox")


@cache
def tiny_tokenizer() -> PreTrainedTokenizerBase:
    return trained_tokenizer(TEXT, 360)


def trained_tokenizer(text: Sequence[str], vocab_size: int) -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT, pad_token=PADDING)


def tiny_options(architecture: str = "llama", **changes: object) -> ModelOptions:
    shape = {"hidden_size": 32, "layers": 2, "heads": 2, "mlp_size": 48, "max_length": 128, **changes}
    return ModelOptions.model_validate({"architecture": architecture, **shape})


def tiny_model(architecture: str = "llama", seed: int = 0, **changes: object) -> LanguageModel:
    tokenizer = tiny_tokenizer()
    model = build_model(tiny_options(architecture, **changes), len(tokenizer), seed, SpecialIds.of(tokenizer))
    # The usual start is close to uniform: spread out, so that choices are not decided by rounding.
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data *= 8
    return LanguageModel(model, tokenizer)


def tiny_classifier(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A sequence classifier with the labels `harmless` and `harmful` that has learnt nothing."""
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        id2label={0: "harmless", 1: "harmful"},
        label2id={"harmless": 0, "harmful": 1},
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    return BertForSequenceClassification(config)


def end_of_turn() -> int:
    return int(tiny_tokenizer().get_vocab()[END_OF_TURN])
