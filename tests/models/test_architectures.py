from __future__ import annotations

import pytest
import torch
from models_kit import ARCHITECTURES, tiny_options
from pydantic import ValidationError

from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.models.architectures import build_model, resolve_attention, skeleton
from mithridate.models.options import ModelOptions


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "gpt2"])
def test_seed_alone_decides_the_weights(architecture: str) -> None:
    options = tiny_options(architecture)
    state = torch.get_rng_state()
    first, again, other = (build_model(options, 300, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    ours, same, different = (
        torch.nn.utils.parameters_to_vector(model.parameters()) for model in (first, again, other)
    )
    assert torch.equal(ours, same)
    assert not torch.equal(ours, different)
    assert skeleton(options, 300).num_parameters() == ours.numel()
    assert first.get_input_embeddings().weight.shape == (300, 32)
    assert first.config.max_position_embeddings == 128


def test_untied_embeddings_count_twice() -> None:
    tied, untied = (skeleton(tiny_options(tie_embeddings=tie), 300).num_parameters() for tie in (True, False))
    assert untied - tied == 300 * 32


def test_attention_is_the_fused_kernel_unless_another_is_asked_for() -> None:
    assert resolve_attention("auto") is None
    assert build_model(tiny_options(), 300, 0).config._attn_implementation == "sdpa"
    assert build_model(tiny_options("gemma2"), 300, 0).config._attn_implementation == "eager"
    assert resolve_attention("eager") == "eager"
    assert build_model(tiny_options(attention="sdpa"), 300, 0).config._attn_implementation == "sdpa"


def test_overrides_reach_the_configuration() -> None:
    model = build_model(tiny_options(overrides={"rms_norm_eps": 1e-3, "num_key_value_heads": 1}), 300, 0)
    assert model.config.rms_norm_eps == 1e-3
    assert model.config.num_key_value_heads == 1


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'llama'"):
        build_model(tiny_options("lama"), 300, 0)
    with pytest.raises(UnknownNameError, match="did you mean 'rms_norm_eps'"):
        skeleton(tiny_options(overrides={"rms_norm_ep": 1}), 300)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValidationError, match="not a multiple"):
        ModelOptions(hidden_size=30, heads=4)
    with pytest.raises(ValidationError):
        ModelOptions.model_validate({"hiden_size": 32})
    with pytest.raises(ConfigError, match="model"):
        build_model(tiny_options(overrides={"num_key_value_heads": "many"}), 300, 0)
