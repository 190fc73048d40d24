"""The base of all that is checked on its way in: unknown keys are refused, and what was read stays so."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A frozen model that takes the fields it names and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)
