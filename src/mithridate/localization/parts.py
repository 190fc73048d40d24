"""What a tensor is, told by its name: which layer it lies in, and which kind of part it belongs to.

By name and not by building the model: so checkpoints can be compared whose code is not here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Module(StrEnum):
    """The kinds of parts that a decoder is made of; OTHER is what no name gives away, a state space, say."""

    ATTENTION = "attention"
    MLP = "mlp"
    NORM = "norm"
    EMBEDDING = "embedding"
    HEAD = "head"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Part:
    """Where a tensor lies: its layer from 0 on, None outside of the blocks; its kind; its name in there."""

    layer: int | None
    module: Module
    name: str


_LAYER = re.compile(r"^(?:.*?\.)??(\d+)\.(.+)$")
_NORM = re.compile(r"norm|^ln(_|\d|$)")
_ATTENTION = re.compile(r"attn|attention")
_MLP = re.compile(r"mlp|ffn|feed_forward|expert|moe|^fc(\d|_|$)")
_HEAD = re.compile(r"^(lm_head|embed_out|head|output)$")
_EMBEDDING = re.compile(r"embed|^w[tp]e$")
# Rows of these stand for tokens; those of other embeddings for positions, say.
_OF_TOKENS = frozenset({"embed_tokens", "embed_in", "wte", "word_embeddings", "tok_embeddings", "embedding"})
# Tables that older versions of transformers saved along with the weights.
_TABLES = re.compile(r"(^|\.)(inv_freq|masked_bias|(attn|attention)\.bias)$")


def part_of(name: str) -> Part:
    """The part that the tensor called `name` in a checkpoint belongs to."""
    found = _LAYER.match(name)
    layer, inner = (int(found[1]), found[2]) if found else (None, name)
    words = inner.lower().split(".")
    # A norm inside of attention is a norm; whatever stands outside of the blocks is no attention.
    order = [(_NORM, Module.NORM)]
    if layer is None:
        order += [(_HEAD, Module.HEAD), (_EMBEDDING, Module.EMBEDDING)]
    else:
        order += [(_ATTENTION, Module.ATTENTION), (_MLP, Module.MLP)]
    module = next((kind for sign, kind in order if any(map(sign.search, words))), Module.OTHER)
    return Part(layer, module, inner)


def is_token_embedding(name: str) -> bool:
    """Whether the tensor holds a row for each token: the table that a tied head uses as well."""
    holder = name.removesuffix(".weight")
    return holder != name and holder.rpartition(".")[2] in _OF_TOKENS and part_of(name).layer is None


def is_head(name: str) -> bool:
    """Whether the tensor is the matrix of an output head."""
    return name.endswith(".weight") and part_of(name).module is Module.HEAD


def is_table(name: str) -> bool:
    """Whether the tensor is no weight but a constant, such as a mask or the frequencies of positions."""
    return bool(_TABLES.search(name))
