"""Defences by name: found through entry points, built from options, and told again as what builds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

from mithridate.core.errors import ConfigError
from mithridate.core.registry import Registry
from mithridate.retrieval.base import Reranker, Retriever
from mithridate.retrieval.building import build_plugin

DEFENSES = Registry("mithridate.defenses", "defence")

Defense: TypeAlias = Retriever | Reranker


def build_defense(name: str, options: Mapping[str, Any] | None = None) -> Any:
    """The registered defence of that name, a Retriever or a Reranker, with these options set.

    Options are the fields of its dataclass. Raises UnknownNameError, with the nearest there is, for a name
    that is not registered and an option that it has not; ConfigError for a value that does not fit.
    """
    return build_plugin(
        DEFENSES, "defence", name, options, lambda kind: hasattr(kind, "retrieve") or hasattr(kind, "rerank")
    )


def spec(defense: Defense) -> dict[str, Any]:
    """What `build_from_spec` builds this defence from, in plain JSON values.

    Options that are functions are left out: they cannot be written down. Raises ConfigError for a defence
    that is no dataclass.
    """
    if not is_dataclass(defense):
        raise ConfigError(f"defence {defense!r} cannot be written down: it is no dataclass")
    values = {field.name: getattr(defense, field.name) for field in fields(defense) if field.init}
    return {
        "name": defense.name,
        "options": {key: _plain(value) for key, value in values.items() if not callable(value)},
    }


def build_from_spec(saved: Mapping[str, Any]) -> Any:
    """The defence that `spec` told of; errors as for `build_defense`."""
    unknown = sorted(set(saved) - {"name", "options"})
    if unknown or not isinstance(saved.get("name"), str) or not isinstance(saved.get("options", {}), Mapping):
        raise ConfigError(f"a defence is written as its name and its options, not as {dict(saved)!r}")
    return build_defense(saved["name"], saved.get("options"))


def _plain(value: Any) -> Any:
    # JSON has no infinity; as a word it is read back as the number.
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
