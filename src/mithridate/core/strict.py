"""What is checked on its way in: no unknown keys, no endless numbers, no changes; and what was wrong."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError


class Strict(BaseModel):
    """A frozen model that takes the fields it names and no others, and finite numbers alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def first_problem(error: ValidationError) -> tuple[str, str | None]:
    """What is wrong first, and the field it is in: names and places joined by dots, None for the whole."""
    first = error.errors(include_url=False)[0]
    return first["msg"].removeprefix("Value error, "), ".".join(map(str, first["loc"])) or None
