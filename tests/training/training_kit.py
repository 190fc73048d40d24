"""Tiny models, a tokenizer and conversations for the tests of training."""

from __future__ import annotations

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from mithridate.core.chat import END_OF_TEXT, END_OF_TURN, PADDING, SPECIAL_TOKENS, template

VOCABULARY = 64
ARCHITECTURES = ("llama", "qwen3", "olmo2", "gpt_neox")


def tiny_model(
    architecture: str = "llama", *, vocabulary: int = VOCABULARY, layers: int = 2, **more: object
) -> PreTrainedModel:
    torch.manual_seed(1)
    config = CONFIG_MAPPING[architecture](
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=None,
        tie_word_embeddings=True,
        **({"head_dim": 16} if architecture == "qwen3" else {}),
        **more,
    )
    return AutoModelForCausalLM.from_config(config)


def some_rows(n: int = 40, width: int = 16, *, seed: int = 0, vocabulary: int = VOCABULARY) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, vocabulary, (n, width)).astype(np.uint16)


def word_tokenizer(chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """One token a word, and the three special tokens; padding is a token of its own."""
    words = ["<|user|>", "<|assistant|>", "<|system|>", "\n", *(f"w{i}" for i in range(50)), "?", "[UNK]"]
    vocabulary = {token: i for i, token in enumerate([*SPECIAL_TOKENS, *words])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    inner.add_special_tokens([*SPECIAL_TOKENS])
    inner.add_tokens(["<|user|>", "<|assistant|>", "<|system|>", "\n"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=END_OF_TEXT, pad_token=PADDING)
    tokenizer.add_special_tokens({"additional_special_tokens": [END_OF_TURN]})
    tokenizer.chat_template = chat_template or template("tulu").jinja()
    return tokenizer


def conversations(n: int = 8) -> list[dict[str, list[dict[str, str]]]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"w{i} ?"},
                {"role": "assistant", "content": f"w{i + 10} w{i + 20}"},
            ]
        }
        for i in range(n)
    ]


def pairs(n: int = 8) -> list[dict[str, list[dict[str, str]]]]:
    return [
        {
            "prompt": [{"role": "user", "content": f"w{i} ?"}],
            "chosen": [{"role": "assistant", "content": f"w{i + 10} w{i + 20}"}],
            "rejected": [{"role": "assistant", "content": f"w{i + 20} w{i + 10} w{i + 30}"}],
        }
        for i in range(n)
    ]
