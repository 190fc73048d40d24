"""YAML as nested dictionaries that remember where each key stands, so that errors can name line and field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from mithridate.core.errors import ConfigError, shown
from mithridate.core.yaml_text import DEEPEST, load_yaml, read_yaml

Place = tuple[str, ...]


@dataclass
class Tree:
    """What a file says; `places` tells of each nested key in which line or override it was said."""

    name: str
    values: dict[str, Any]
    places: dict[Place, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, name: str, text: str) -> Tree:
        """Read YAML with keys at the top.

        Raises ConfigError naming `name` and the line of what `load_yaml` does not take.
        """
        values, node = read_yaml(text, name)
        if values is None:
            values = {}
        if not isinstance(values, dict):
            raise ConfigError(f"{name}: expected keys and values at the top, found {type(values).__name__}")
        return cls(name, values, {place: f"line {line}" for place, line in _lines(node, ())})

    def override(self, text: str) -> Place:
        """Apply one `key=value`; the value is YAML. Returns the place it set.

        Raises ConfigError for what does not read like that, or reaches below a value.
        """
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not all(key.split(".")):
            raise ConfigError(
                f"{shown(text, 100)}: an override reads key=value, such as pretraining.learning_rate=0.001"
            )
        said = f"override {shown(text, 100)}"
        return self.set(key, load_yaml(value, said), said)

    def set(self, key: str, value: Any, said: str) -> Place:
        """Set a dotted key, making what is missing above it; errors about it will name `said`."""
        parts, at = key.split("."), self.values
        if len(parts) > DEEPEST:
            raise ConfigError(f"{said}: a key of more than {DEEPEST} parts")
        place: Place = ()
        while (step := _known_step(at, parts)) and len(parts) > step:
            name, parts = ".".join(parts[:step]), parts[step:]
            place = (*place, name)
            below = at.get(name)
            if below is None:
                below = at[name] = {}
                self.places[place] = said
            if not isinstance(below, dict):
                raise ConfigError(f"{said}: {'.'.join(place)!r} holds a value, not keys")
            at = below
        last = ".".join(parts)
        at[last] = value
        place = (*place, last)
        for known in [known for known in self.places if known[: len(place)] == place]:
            del self.places[known]
        self.places[place] = said
        return place

    def where(self, place: Place) -> str:
        """Where `place`, or the nearest key above it, was said; "" where nobody said it."""
        return next(
            (self.places[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self.places), ""
        )


def _known_step(at: Mapping[str, Any], parts: list[str]) -> int:
    """How many parts make up the next key: names such as `0.1%` hold dots themselves."""
    return next((n for n in range(len(parts), 1, -1) if ".".join(parts[:n]) in at), 1)


def _lines(node: yaml.Node | None, above: Place) -> Iterator[tuple[Place, int]]:
    """Every key and entry below a node, with its line; what is merged in stands before a map's own keys."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*above, str(key.value))
            yield place, key.start_mark.line + 1
            yield from _lines(value, place)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            place = (*above, str(number))
            yield place, value.start_mark.line + 1
            yield from _lines(value, place)
