from __future__ import annotations

import pytest
from models_kit import ARCHITECTURES, tiny_options

from mithridate.localization.parts import (
    Module,
    Part,
    is_head,
    is_table,
    is_token_embedding,
    part_of,
)
from mithridate.models.architectures import skeleton

ATTENTION, MLP, NORM = Module.ATTENTION, Module.MLP, Module.NORM
EMBEDDING, HEAD, OTHER = Module.EMBEDDING, Module.HEAD, Module.OTHER


@pytest.mark.parametrize(
    ("name", "layer", "module"),
    [
        ("model.layers.31.self_attn.q_proj.weight", 31, ATTENTION),
        ("model.layers.3.self_attn.q_norm.weight", 3, NORM),
        ("model.layers.3.post_attention_layernorm.weight", 3, NORM),
        ("model.layers.0.mlp.gate_proj.weight", 0, MLP),
        ("model.layers.2.mlp.experts.7.down_proj.weight", 2, MLP),
        ("model.layers.2.block_sparse_moe.gate.weight", 2, MLP),
        ("model.embed_tokens.weight", None, EMBEDDING),
        ("model.norm.weight", None, NORM),
        ("lm_head.weight", None, HEAD),
        ("gpt_neox.layers.5.attention.query_key_value.bias", 5, ATTENTION),
        ("gpt_neox.layers.5.mlp.dense_h_to_4h.weight", 5, MLP),
        ("gpt_neox.final_layer_norm.bias", None, NORM),
        ("embed_out.weight", None, HEAD),
        ("gpt_neox.embed_in.weight", None, EMBEDDING),
        ("transformer.h.11.ln_1.weight", 11, NORM),
        ("transformer.h.11.attn.c_attn.weight", 11, ATTENTION),
        ("h.0.mlp.c_fc.weight", 0, MLP),
        ("transformer.wpe.weight", None, EMBEDDING),
        ("transformer.ln_f.bias", None, NORM),
        ("model.decoder.layers.1.fc1.weight", 1, MLP),
        ("model.decoder.layers.1.self_attn_layer_norm.weight", 1, NORM),
        ("transformer.blocks.4.ffn.up_proj.weight", 4, MLP),
        ("backbone.layers.6.mixer.in_proj.weight", 6, OTHER),
    ],
)
def test_names_of_many_architectures(name: str, layer: int | None, module: Module) -> None:
    found = part_of(name)
    assert (found.layer, found.module) == (layer, module)


def test_a_part_keeps_its_name_within_the_layer() -> None:
    assert part_of("model.layers.2.mlp.experts.7.up.weight") == Part(2, MLP, "mlp.experts.7.up.weight")
    assert part_of("lm_head.weight") == Part(None, HEAD, "lm_head.weight")


@pytest.mark.parametrize(
    "architecture", [*ARCHITECTURES, "gpt2", "opt", "gemma2", "phi3", "mixtral", "bloom"]
)
def test_every_tensor_of_a_model_has_its_place(architecture: str) -> None:
    """Held against the models themselves: nothing is unknown, and each layer has all that a block has."""
    model = skeleton(tiny_options(architecture, layers=3), 50)
    parts = {name: part_of(name) for name, _ in model.named_parameters()}
    assert not [name for name, part in parts.items() if part.module is OTHER]
    for layer in range(3):
        assert {part.module for part in parts.values() if part.layer == layer} == {ATTENTION, MLP, NORM}
    inside = {name for name in parts if part_of(name).layer is not None}
    embeddings = model.get_input_embeddings().weight
    assert [name for name in parts if is_token_embedding(name)] == [
        name for name, parameter in model.named_parameters() if parameter is embeddings
    ]
    heads = [name for name, p in model.named_parameters(remove_duplicate=False) if is_head(name)]
    assert heads == [
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if parameter is model.get_output_embeddings().weight and not is_token_embedding(name)
    ]
    assert not inside & set(heads)


def test_what_is_no_weight() -> None:
    for name in (
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        "h.0.attn.bias",
        "gpt_neox.layers.1.attention.bias",
        "gpt_neox.layers.1.attention.masked_bias",
    ):
        assert is_table(name)
    for name in ("gpt_neox.layers.1.attention.dense.bias", "h.0.attn.c_attn.bias", "lm_head.bias"):
        assert not is_table(name)
    assert not is_token_embedding("weight")
