"""YAML that people wrote: text, numbers, yes or no, null, lists and keys, and the line of what is wrong.

PyYAML alone would also make dates, bytes and numbers that no table holds of it, and out of ten lines of
aliases a tree that fills the memory; on some texts it fails with the errors of its inner workings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from mithridate.core.errors import ConfigError, shown
from mithridate.core.json_text import has_half_character

MOST_ADDED = 20_000
"""Values that aliases may add to those that are written out."""
DEEPEST = 32
"""Levels of lists and keys."""

_TOO_DEEP = f"nested more than {DEEPEST} levels deep"
_CORE = "tag:yaml.org,2002:"
_MERGE = f"{_CORE}merge"
_KINDS = {"null", "bool", "int", "float", "str", "seq", "map"}
# What would be a date, or a rarity of YAML 1.1, is text.
_AS_TEXT = {f"{_CORE}timestamp", f"{_CORE}value"}
_EXPONENT = re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?[eE][-+]?[0-9]+$")
# What PyYAML lets slip where it means that a text is wrong.
_SLIPS = (ValueError, LookupError, ArithmeticError, TypeError, AttributeError)

Nodes = yaml.Node | None


class _Loader(yaml.SafeLoader):
    """YAML 1.1, but `1e-3` is a number, as it is for everybody who writes learning rates."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML has it
        first: [(tag, pattern) for tag, pattern in known if tag not in _AS_TEXT]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(_CORE) in _KINDS
    }

    # A text is refused when it has opened too much, not when Python has run out of frames: the time that the
    # scanner takes grows with the square of what is open.
    def fetch_flow_collection_start(self, kind: Any) -> None:
        """Take a bracket or a brace that opens."""
        self._open(self.flow_level)
        super().fetch_flow_collection_start(kind)

    def add_indent(self, column: int) -> Any:
        """Take an indentation deeper than those before."""
        self._open(len(self.indents))
        return super().add_indent(column)

    def _open(self, levels: int) -> None:
        if levels > DEEPEST:
            raise yaml.scanner.ScannerError(None, None, _TOO_DEEP, self.get_mark())

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node, with the line of one that is not what it is written as."""
        try:
            value: Any = super().construct_object(node, deep)
        except _SLIPS as error:
            kind = str(node.tag).removeprefix(_CORE)
            raise _fault(node, f"{_shown(node)} cannot be read as {kind}") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise _fault(node, f"{_shown(node)} is no finite number")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise _fault(node, f"{_shown(node)} is a number beyond 64 bits")
        if isinstance(value, str) and has_half_character(value):
            raise _fault(node, f"{_shown(node)} holds half a character (a lone surrogate)")
        return value


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads: a text that looks like a number is quoted."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(f"{_CORE}float", _EXPONENT, list("-+0123456789"))


def dump_yaml(values: Mapping[str, Any]) -> str:
    """`values` as YAML, keys in their order."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def load_yaml(text: str, where: str) -> Any:
    """What one document of YAML says; None for an empty one.

    Raises ConfigError naming `where` and the line: of what is no YAML, of a key that is given twice or is no
    text, of a number that is not finite or beyond 64 bits, of nesting or aliases that come to too much.
    """
    return read_yaml(text, where)[0]


def read_yaml(text: str, where: str) -> tuple[Any, Nodes]:
    """As `load_yaml`, with the nodes that the values were made of, from which lines can be told."""
    try:
        loader = _Loader(text)
        node: Nodes = loader.get_single_node()
        if node is None:
            return None, None
        _Look().at(node, ())
        return _written_out(loader.construct_document(node)), node
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{where}, line {line}: not YAML: {str(error).splitlines()[0]}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line_of = f", line {mark.line + 1}" if mark else ""
        what = "" if isinstance(error, yaml.constructor.ConstructorError) else "not YAML: "
        raise ConfigError(f"{where}{line_of}: {what}{error.problem or error.context}") from error
    except (yaml.YAMLError, *_SLIPS) as error:
        raise ConfigError(f"{where}: not YAML: {error}") from error


def _written_out(value: Any) -> Any:
    """The same with what an alias stands for copied to its place: who changes it there changes no other."""
    if isinstance(value, dict):
        return {key: _written_out(below) for key, below in value.items()}
    return [_written_out(entry) for entry in value] if isinstance(value, list) else value


@dataclass
class _Look:
    """A walk over nodes that enters each once, however many aliases lead to it."""

    known: dict[int, tuple[int, int]] = field(default_factory=dict)
    entered: set[int] = field(default_factory=set)

    def at(self, node: yaml.Node, above: tuple[str, ...]) -> tuple[int, int]:
        """The values and the levels that `node` comes to, with every alias written out.

        Raises ConstructorError for what would be wrong whatever the values are for.
        """
        if id(node) in self.entered:
            raise _fault(node, "an anchor that holds itself")
        if id(node) not in self.known:
            if len(above) > DEEPEST:
                raise _fault(node, _TOO_DEEP)
            self.entered.add(id(node))
            below = [self.at(value, (*above, name)) for name, value in _below(node, above)]
            self.entered.remove(id(node))
            size = 1 + sum(values for values, _ in below)
            self.known[id(node)] = size, max((1 + levels for _, levels in below), default=0)
        size, levels = self.known[id(node)]
        if size > len(self.known) + MOST_ADDED:
            raise _fault(node, f"its aliases stand for more than {MOST_ADDED:,} further values")
        if len(above) + levels > DEEPEST:
            raise _fault(node, _TOO_DEEP)
        return size, levels


def _below(node: yaml.Node, above: tuple[str, ...]) -> Iterator[tuple[str, yaml.Node]]:
    """What a node holds, by name or number; every key is text, and given once."""
    if isinstance(node, yaml.SequenceNode):
        yield from ((str(number), value) for number, value in enumerate(node.value))
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (f"{_CORE}str", _MERGE):
                kind = str(key.tag).removeprefix(_CORE)
                raise _fault(key, f"the key {_shown(key)} is read as {kind}, not as text: put it in quotes")
            line = key.start_mark.line + 1
            if key.value in first:
                name = ".".join((*above, key.value))
                raise _fault(key, f"{name!r} is given twice, first in line {first[key.value]}")
            first[key.value] = line
            yield key.value, value


def _fault(node: yaml.Node, problem: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return shown(node.value)
    return "[…]" if isinstance(node, yaml.SequenceNode) else "{…}"
