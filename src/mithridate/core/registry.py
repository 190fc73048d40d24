"""Lazy registries over entry points: nothing is imported until its name is asked for."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mithridate.core.errors import ConfigError, UnknownNameError


class Registry:
    """Names to classes, read from one entry point group of every installed package.

    `what` is the noun used in errors. A name claimed by two packages is an error only when it is asked for.
    """

    def __init__(self, group: str, what: str) -> None:
        self._group = group
        self._what = what

    def _entries(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for entry in entry_points(group=self._group):
            claims = found.setdefault(entry.name, [])
            if all(entry.value != claim.value for claim in claims):
                claims.append(entry)
        return found

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._entries())

    def get(self, name: str) -> Any:
        """The class registered under `name`.

        Raises UnknownNameError with the nearest name, or ConfigError if two packages claim the name or the
        one that does cannot be imported.
        """
        claims = self._entries().get(name)
        if not claims:
            raise UnknownNameError(self._what, name, self.names())
        if len(claims) > 1:
            raise ConfigError(f"{self._what} {name!r} is claimed by {', '.join(c.value for c in claims)}")
        try:
            return claims[0].load()
        except Exception as error:  # Whatever a package of someone else's does when it is imported.
            raise ConfigError(
                f"{self._what} {name!r} ({claims[0].value}) cannot be loaded: {error}"
            ) from error
