"""What a study file says about a model. No torch here, so that a study file can be checked at once."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from mithridate.core.strict import Strict

Attention = Literal["auto", "eager", "sdpa"]


class ModelOptions(Strict):
    """Shape of a decoder that is trained from scratch.

    The default has about 1.2 million parameters with a vocabulary of 2048.
    """

    architecture: str = "llama"
    """`llama`, `qwen3`, `olmo2` and `gpt_neox` are tested; any other causal `model_type` may work."""
    hidden_size: int = Field(128, ge=8)
    layers: int = Field(6, ge=1, le=1000)
    heads: int = Field(4, ge=1)
    mlp_size: int = Field(256, ge=8)
    max_length: int = Field(512, ge=16)
    """Context window, in tokens."""
    tie_embeddings: bool = True
    attention: Attention = "auto"
    """Implementation of attention: `auto` takes `sdpa` where the architecture has it, and trains rows of up
    to 256 tokens on a CPU with `eager`, which is up to a fifth faster there; on rows of 1,024 it is two
    thirds slower."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the architecture's own configuration, by their names there."""

    @model_validator(mode="after")
    def _heads_divide(self) -> ModelOptions:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        return self
