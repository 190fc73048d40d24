"""What is checked on its way in: no unknown keys, no endless numbers, no changes; in words what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from mithridate.core.errors import nearest

_QUOTED: Final = re.compile(r"'([^']*)'")


class Strict(BaseModel):
    """A frozen model that takes the fields it names and no others, and finite numbers alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def first_problem(error: ValidationError) -> tuple[str, str | None]:
    """What is wrong first, and the field it is in: names and places joined by dots, None for the whole."""
    first = error.errors(include_url=False)[0]
    problem = first["msg"].removeprefix("Value error, ") + value_meant(first)
    return problem, ".".join(map(str, first["loc"])) or None


def meant(name: str, known: Iterable[str]) -> str:
    """Which of the `known` names was meant by `name`, in words; all of them where none is near."""
    there = sorted(known)
    near = nearest(name, there)
    return f"known are {', '.join(there)}" if near is None else f"did you mean {near!r}?"


def value_meant(entry: Any) -> str:
    """Which of a few values was meant, as the end of a sentence on pydantic's error `entry`; or nothing."""
    if entry["type"] not in ("enum", "literal_error") or not isinstance(entry.get("input"), str):
        return ""
    expected = _QUOTED.findall(entry.get("ctx", {}).get("expected", ""))
    near = nearest(entry["input"], expected)
    return "" if near is None else f": did you mean {near!r}?"


def fields_at(kind: Any, place: Iterable[str]) -> list[str]:
    """Names of the fields that the section at `place` below the model `kind` has."""
    for part in place:
        kind = _plain(kind)
        if _is_model(kind):
            kind = kind.model_fields[part].annotation if part in kind.model_fields else None
        else:
            # A dictionary of sections: whatever the name, its values are of one kind.
            kind = get_args(kind)[1] if get_origin(kind) is dict else None
    kind = _plain(kind)
    return list(kind.model_fields) if _is_model(kind) else []


def _plain(kind: Any) -> Any:
    """The section in `Section | None`."""
    if get_origin(kind) in (Union, UnionType):
        return next((one for one in get_args(kind) if _is_model(one)), None)
    return kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
