"""What is checked on its way in: no unknown keys, no endless numbers, no changes; in words what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from mithridate.core.errors import nearest, shown

# What pydantic says in the words of Python, in those of who writes settings.
_SAID: Final = {
    "tuple_type": "expected a list, such as [1, 2]",
    "missing": "is missing",
    "dict_type": "expected settings, as in {key: value}",
    "float_parsing": "expected a number; a share is written as 0.001, not as 0.1 %",
}
_QUOTED: Final = re.compile(r"'([^']*)'")


class Strict(BaseModel):
    """A frozen model that takes the fields it names and no others, and finite numbers alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def first_problem(error: ValidationError) -> tuple[str, str | None]:
    """What is wrong first, and the field it is in: names and places joined by dots, None for the whole."""
    first = error.errors(include_url=False)[0]
    problem = first["msg"].removeprefix("Value error, ") + value_meant(first)
    return problem, ".".join(map(str, first["loc"])) or None


def problem(kind: type[BaseModel], entry: Any, whole: str, above: tuple[str, ...] = ()) -> str:
    """One of pydantic's errors on the model `kind` in words: the key, what is wrong, what was found.

    `above` is where the model itself lies; `whole` is what to call it all, where the error is of no key.
    """
    inner = tuple(map(str, entry["loc"]))
    place = ".".join((*above, *inner))
    if entry["type"] == "extra_forbidden":
        return f"unknown key {place!r}: {meant(inner[-1], fields_at(kind, inner[:-1]))}"
    found = f" (found {shown(entry['input'])})" if isinstance(entry.get("input"), str | int | float) else ""
    empty = entry["type"] == "too_short" and not entry["ctx"]["actual_length"]
    said = _SAID.get(entry["type"]) or entry["msg"].removeprefix("Value error, ")
    return f"{place or whole}: {'may not be empty' if empty else said}{found}{value_meant(entry)}"


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
