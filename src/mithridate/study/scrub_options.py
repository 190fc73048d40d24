"""What a study file says of scrubbing: which beliefs, by which filters, and how much is removed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from mithridate.core.scrubbed import Belief, Filter
from mithridate.core.strict import Strict

Share = Annotated[float, Field(gt=0, lt=1)]


class ScrubOptions(Strict):
    """Remove what a filter ranks first, train again, and see whether the belief is gone.

    Every method with every share is one more model to pretrain.
    """

    shares: tuple[Share, ...] = Field((0.01, 0.03, 0.1, 0.3), min_length=1)
    """Shares of all documents that are removed."""
    methods: tuple[Filter, ...] = Field(tuple(Filter), min_length=1)
    """What the defender goes by; `random` and `oracle` are controls."""
    dose: str | None = None
    """The dose whose corpus is scrubbed; the largest if none is named."""
    attacks: dict[str, Belief] = Field(
        {"belief": Belief.STATED, "scattered_belief": Belief.SCATTERED}, min_length=1
    )
    """Attacks whose beliefs are scrubbed, and how their documents speak; what the study lacks is left out."""
    encoder: Literal["hashing", "minilm"] = "hashing"
    """What `similarity` encodes with: hashed words, or a small model that needs an extra."""
    blocks: int | None = Field(None, ge=1)
    """Of how many of the last blocks `influence` looks at the gradients; of all if no number is given."""
    projected: int = Field(16, ge=1, le=1024)
    """To how many rows and columns `influence` projects the gradient of each layer."""

    @field_validator("shares", "methods")
    @classmethod
    def _different(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(values)) < len(values):
            raise ValueError("names a value twice")
        return values

    @field_validator("attacks")
    @classmethod
    def _one_of_a_kind(cls, attacks: dict[str, Belief]) -> dict[str, Belief]:
        if len(set(attacks.values())) < len(attacks):
            raise ValueError("names two attacks of one kind; one stated and one scattered can be told apart")
        return attacks
