"""Plug-ins by name, built from options: what defences and attacks of retrieval have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.core.registry import Registry


def build_plugin(
    registry: Registry, what: str, name: str, options: Mapping[str, Any] | None, fits: Callable[[Any], bool]
) -> Any:
    """The class registered as `name`, built with these options: the fields of its dataclass.

    `what` is the noun used in errors, and `fits` says whether a class is one. Raises UnknownNameError, with
    the nearest there is, for a name that is not registered and an option that it has not; ConfigError for a
    value that does not fit.
    """
    kind = registry.get(name)
    if not is_dataclass(kind) or not fits(kind):
        raise ConfigError(f"{what} {name!r}: what its package registers is no {what} class: {kind!r}")
    options = dict(options or {})
    known = [field.name for field in fields(kind) if field.init]
    for option in options:
        if option not in known:
            raise UnknownNameError(f"option of {what} {name!r}", option, known)
    try:
        return TypeAdapter(kind).validate_python(options)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{what} {name!r}: {problems}") from error
    except ConfigError as error:
        raise ConfigError(f"{what} {name!r}: {error}") from error
