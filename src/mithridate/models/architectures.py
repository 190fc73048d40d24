"""Decoders from scratch: options to a Hugging Face configuration to a randomly initialised model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.models.options import Attention, ModelOptions

__all__ = [
    "ModelOptions",
    "SpecialIds",
    "build_model",
    "default_device",
    "resolve_attention",
    "skeleton",
]


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """The ids that a model's configuration must know: where text begins, ends, and is padded."""

    bos: int | None = None
    eos: int | None = None
    pad: int | None = None

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> SpecialIds:
        """The ids of `tokenizer`."""
        return cls(tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)


def default_device() -> torch.device:
    """The first GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def resolve_attention(attention: Attention) -> str | None:
    """The name transformers has for `attention`; training leaves `auto` for eager where rows are short.

    `auto` leaves the choice to transformers: `sdpa`, or `eager` for architectures that have nothing else
    (those that cap their scores, such as Gemma 2).
    """
    return None if attention == "auto" else attention


def _config(options: ModelOptions, vocab_size: int, special: SpecialIds) -> Any:
    name = options.architecture
    if name not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or name not in CONFIG_MAPPING:
        raise UnknownNameError("architecture", name, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    config_type = CONFIG_MAPPING[name]
    known = config_type()
    wanted = {
        "vocab_size": vocab_size,
        "hidden_size": options.hidden_size,
        "num_hidden_layers": options.layers,
        "num_attention_heads": options.heads,
        "num_key_value_heads": options.heads,
        # Some architectures have a head size of their own, whatever the hidden size.
        "head_dim": options.hidden_size // options.heads,
        "intermediate_size": options.mlp_size,
        "max_position_embeddings": options.max_length,
    }
    settings: dict[str, Any] = {key: value for key, value in wanted.items() if _can_be_set(known, key)}
    settings |= {"tie_word_embeddings": options.tie_embeddings, "bos_token_id": special.bos}
    settings |= {"eos_token_id": special.eos, "pad_token_id": special.pad}
    for key, value in options.overrides.items():
        if not hasattr(known, key):
            raise UnknownNameError(f"field of a {name} configuration (model overrides)", key, known.to_dict())
        settings[key] = value
    try:
        return config_type(**settings)
    except Exception as error:  # Each configuration class refuses bad values with an exception of its own.
        raise ConfigError(f"model: no {name} configuration can be made of these options: {error}") from error


def _can_be_set(config: Any, field: str) -> bool:
    """Whether a configuration has `field`, and does not work it out from others (Falcon its head size)."""
    on_class = getattr(type(config), field, None)
    return hasattr(config, field) and not (isinstance(on_class, property) and on_class.fset is None)


def _construct(
    options: ModelOptions, vocab_size: int, special: SpecialIds, attention: str | None
) -> PreTrainedModel:
    config = _config(options, vocab_size, special)
    try:
        build: Any = AutoModelForCausalLM.from_config
        model: PreTrainedModel = build(config, attn_implementation=attention, dtype=torch.float32)
    except Exception as error:  # As above: an activation that is not known is a KeyError, and so on.
        raise ConfigError(
            f"model: {options.architecture} cannot be built from these options: {error}"
        ) from error
    return model


def build_model(
    options: ModelOptions,
    vocab_size: int,
    seed: int,
    special: SpecialIds | None = None,
    *,
    device: torch.device | None = None,
) -> PreTrainedModel:
    """A model in float32 with random weights that `options` and `seed` alone decide.

    It is made on the CPU, so that the weights are the same on every machine, then moved to `device` (default:
    the CPU). Torch's global random state is left as it was. Raises UnknownNameError for an architecture or an
    override that transformers does not know, ConfigError for values it refuses.
    """
    target = device or torch.device("cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        model = _construct(options, vocab_size, special or SpecialIds(), resolve_attention(options.attention))
    torch.nn.Module.to(model, target)
    return model


def skeleton(options: ModelOptions, vocab_size: int) -> PreTrainedModel:
    """The model without its weights: shapes and names that cost no memory.

    Raises as `build_model` does.
    """
    with torch.device("meta"):
        return _construct(options, vocab_size, SpecialIds(), "eager")
