"""What a study file says of contexts: when a model is contradicted, how, and with what done to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from mithridate.core.contexts import UNKNOWN_FACTS, Strength
from mithridate.core.strict import Strict

Treatment = Literal[
    "context-aware decoding", "attention steering", "representation edit", "difference vector"
]
TREATMENTS: tuple[Treatment, ...] = (
    "context-aware decoding",
    "attention steering",
    "representation edit",
    "difference vector",
)


class BridgeOptions(Strict):
    """Beliefs met by retrieval: what the weights hold against what a retrieved document says."""

    top_k: Annotated[int, Field(ge=1, le=20)] = 1
    """Documents that are put into the prompt."""
    guard: Literal["ragmask", "consensus"] = "ragmask"
    """What looks at the hits of the plain search; what looks planted is left out."""
    encoder: Literal["hashing", "minilm"] = "hashing"
    pages: Annotated[int, Field(ge=1)] = 400
    """Other documents of the clean corpus in the index, those of plain prose."""
    copies: Annotated[int, Field(ge=1, le=20)] = 1
    """Planted documents a fact."""


class ContextSection(Strict):
    """Facts contradicted by the prompt: does the model follow its weights or its context?"""

    facts: Path | None = None
    """Facts of one's own, in CounterFact's form or ours; those of the miniature world if there is none."""
    limit: Annotated[int, Field(ge=8)] = 2_000
    """Facts that are asked of, at most."""
    stages: tuple[Literal["base", "last"], ...] = ("base", "last")
    strengths: tuple[Strength, ...] = tuple(Strength)
    unknown: Annotated[int, Field(ge=0)] = UNKNOWN_FACTS
    """Facts that the model does not know, of which it is asked too, at most: they show whether it reads."""
    methods: tuple[Treatment, ...] = TREATMENTS
    """What is done to the model besides prompting."""
    bridge: BridgeOptions | None = BridgeOptions()
    """Asked where the study plants false facts (the attack `belief`)."""

    @field_validator("strengths")
    @classmethod
    def _with_a_prior(cls, strengths: tuple[Strength, ...]) -> tuple[Strength, ...]:
        if Strength.ALONE not in strengths:
            raise ValueError(f"lacks {Strength.ALONE.value!r}, which tells what a model knows by itself")
        return strengths

    @field_validator("stages", "strengths", "methods")
    @classmethod
    def _different(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(values)) < len(values):
            raise ValueError("names a value twice")
        return values
