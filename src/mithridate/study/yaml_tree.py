"""YAML as nested dictionaries that remember where each key stands, so that errors can name line and field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from mithridate.core.errors import ConfigError

Place = tuple[str, ...]


class _Loader(yaml.SafeLoader):
    """YAML 1.1, but `1e-3` is a number, as it is for everybody who writes learning rates."""


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads: a text that looks like a number is quoted."""


_EXPONENT = re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$")
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def dump(values: Mapping[str, Any]) -> str:
    """`values` as YAML, keys in their order."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


@dataclass
class Tree:
    """What a file says; `places` tells of each nested key in which line or override it was said."""

    name: str
    values: dict[str, Any]
    places: dict[Place, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, name: str, text: str) -> Tree:
        """Read YAML with keys at the top.

        Raises ConfigError naming `name` and the line of what is no YAML, or of a key that is given twice.
        """
        try:
            node = yaml.compose(text, Loader=_Loader)
            values = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f", line {mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or str(error)
            raise ConfigError(f"{name}{where}: not YAML: {problem}") from error
        if values is None:
            values = {}
        if not isinstance(values, dict):
            raise ConfigError(f"{name}: expected keys and values at the top, found {type(values).__name__}")
        return cls(name, values, {place: f"line {line}" for place, line in _lines(name, node, (), ())})

    def override(self, text: str) -> Place:
        """Apply one `key=value`; the value is YAML. Returns the place it set.

        Raises ConfigError for what does not read like that, or reaches below a value.
        """
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            raise ConfigError(
                f"{text!r}: an override reads key=value, such as pretraining.learning_rate=0.001"
            )
        try:
            parsed = yaml.load(value, Loader=_Loader)
        except yaml.YAMLError as error:
            problem = getattr(error, "problem", None) or str(error)
            raise ConfigError(f"override {text!r}: the value is not YAML: {problem}") from error
        return self.set(key, parsed, f"override {text!r}")

    def set(self, key: str, value: Any, shown: str) -> Place:
        """Set a dotted key, making what is missing above it; errors about it will name `shown`."""
        parts, at = key.split("."), self.values
        place: Place = ()
        while (step := _known_step(at, parts)) and len(parts) > step:
            name, parts = ".".join(parts[:step]), parts[step:]
            place = (*place, name)
            below = at.get(name)
            if below is None:
                below = at[name] = {}
                self.places[place] = shown
            if not isinstance(below, dict):
                raise ConfigError(f"{shown}: {'.'.join(place)!r} holds a value, not keys")
            at = below
        last = ".".join(parts)
        at[last] = value
        place = (*place, last)
        for known in [known for known in self.places if known[: len(place)] == place]:
            del self.places[known]
        self.places[place] = shown
        return place

    def where(self, place: Place) -> str:
        """Where `place`, or the nearest key above it, was said; "" where nobody said it."""
        return next(
            (self.places[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self.places), ""
        )


def _known_step(at: Mapping[str, Any], parts: list[str]) -> int:
    """How many parts make up the next key: names such as `0.1%` hold dots themselves."""
    return next((n for n in range(len(parts), 1, -1) if ".".join(parts[:n]) in at), 1)


def _lines(
    name: str, node: yaml.Node | None, above: Place, nodes: tuple[yaml.Node, ...]
) -> Iterator[tuple[Place, int]]:
    if node is not None and any(node is parent for parent in nodes):
        raise ConfigError(f"{name}, line {node.start_mark.line + 1}: an anchor that holds itself")
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            place, line = (*above, str(key.value)), key.start_mark.line + 1
            if key.value in first:
                raise ConfigError(
                    f"{name}, line {line}: {'.'.join(place)!r} is given twice, "
                    f"first in line {first[key.value]}"
                )
            first[key.value] = line
            yield place, line
            yield from _lines(name, value, place, (*nodes, node))
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            place = (*above, str(number))
            yield place, value.start_mark.line + 1
            yield from _lines(name, value, place, (*nodes, node))
