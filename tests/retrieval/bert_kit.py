"""A BERT with random weights as a sentence-transformers model, for tests that need a real one to load."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from index_kit import WORDS
from transformers import BertConfig, BertModel, BertTokenizerFast

library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
modules = importlib.import_module("sentence_transformers.sentence_transformer.modules")

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ":", ".", *WORDS, "query", "##s", "a", "##b"]


def tiny_bert(root: Path, *, tokens: int = 16) -> Path:
    """The folder of a model with one layer, 16 dimensions and the prompt "query : " for queries.

    It knows the words of `index_kit` and reads so many tokens, up to 64.
    """
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(root / "bert")
    numbers = {word: i for i, word in enumerate(VOCABULARY)}
    tokenizer = BertTokenizerFast(vocab=numbers, model_max_length=tokens)
    assert tokenizer.tokenize("rivers") == ["river", "##s"]
    tokenizer.save_pretrained(root / "bert")
    transformer = modules.Transformer(str(root / "bert"), max_seq_length=tokens)
    pooling = modules.Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    model = library.SentenceTransformer(
        modules=[transformer, pooling], device="cpu", prompts={"query": "query : ", "passage": ""}
    )
    model.save(str(root / "saved"))
    return root / "saved"
