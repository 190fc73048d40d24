"""Defences and attacks as people write them: `ragpart+ragmask(delta=0.1)`, several parted by commas."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mithridate.core.errors import ConfigError, shown
from mithridate.retrieval.base import Layout, Reranker, Retriever
from mithridate.retrieval.controls import Plain
from mithridate.retrieval.defenses import build_defense

W = TypeVar("W")

_CALL = re.compile(r"\s*([\w.-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)
_OPTION = re.compile(r"\s*(\w+)\s*=\s*(.*\S)\s*", re.DOTALL)
_WORDS = {"true": True, "false": False, "none": None}
_OPENING, _CLOSING, _QUOTES = "([{", ")]}", "\"'"


@dataclass(frozen=True, slots=True)
class Call:
    """A name with options, as it was written."""

    name: str
    options: dict[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Chain:
    """One retriever, the plain search where none was written, and rerankers in their order."""

    text: str
    retriever: Retriever
    rerankers: tuple[Reranker, ...]

    @property
    def layout(self) -> Layout:
        """What an index must keep: what the retriever needs, and whole documents for rerankers."""
        kept = self.retriever.layout
        return Layout(
            kept.whole or bool(self.rerankers), kept.fragments, kept.combination, kept.concatenations
        )


def parse_chains(written: str | Sequence[str | Chain]) -> list[Chain]:
    """Chains of defences, from one text that parts them by commas or a text each; each chain once.

    A chain that was built already, of defences that are not registered, comes back as it is.

    Raises UnknownNameError for a defence or an option that there is not, ConfigError for what cannot be read,
    for a retriever that is not the first of its chain, or no chain at all.
    """
    chains = [one if isinstance(one, Chain) else _chain(one) for one in _listed(written, "defence")]
    return list({chain.text: chain for chain in chains}.values())


def parse_calls(written: str | Sequence[str], what: str) -> list[Call]:
    """Names with options, each once; `what` is the noun used in errors. Raises ConfigError."""
    calls = [_call(text, what) for text in _listed(written, what)]
    return list({call.text: call for call in calls}.values())


def _listed(written: str | Sequence[W], what: str) -> list[str | W]:
    listed: list[str | W] = list(_split(written, ",", what) if isinstance(written, str) else written)
    if not listed:
        raise ConfigError(f"no {what} is named; give at least one")
    return listed


def _chain(text: str) -> Chain:
    calls = [_call(part, "defence") for part in _split(text, "+", "defence")]
    built = [build_defense(call.name, call.options) for call in calls]
    for call, defense in list(zip(calls, built, strict=True))[1:]:
        if hasattr(defense, "retrieve"):
            raise ConfigError(
                f"defence {shown(text)}: {call.name!r} is a retriever, which decides over the whole index; a "
                "chain holds one at most, at its beginning, and rerankers such as ragmask follow it"
            )
    retriever: Retriever = built.pop(0) if hasattr(built[0], "retrieve") else Plain()
    return Chain("+".join(call.text for call in calls), retriever, tuple(built))


def _call(text: str, what: str) -> Call:
    found = _CALL.fullmatch(text)
    if not found:
        raise ConfigError(f"{what} {shown(text)} cannot be read; it is written as name or name(option=value)")
    name, inside = found.group(1), found.group(2) or ""
    options: dict[str, Any] = {}
    for part in _split(inside, ",", what) if inside.strip() else ():
        option = _OPTION.fullmatch(part)
        if not option:
            raise ConfigError(f"{what} {shown(text)}: {shown(part)} is no option; write option=value")
        if option.group(1) in options:
            raise ConfigError(f"{what} {shown(text)}: the option {option.group(1)!r} comes twice")
        options[option.group(1)] = _value(option.group(2))
    told = ",".join(f"{key}={_as_written(value)}" for key, value in options.items())
    return Call(name, options, f"{name}({told})" if told else name)


def _value(text: str) -> Any:
    """A number, a quoted text, a list, true, false or none; any other word is a text."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _as_written(value: Any) -> str:
    """A value in one way, however it was written; texts without quotes where they do not need them."""
    if isinstance(value, str) and re.fullmatch(r"[\w./-]+", value) and _value(value) == value:
        return value
    return repr(value)


def _split(text: str, separator: str, what: str) -> Iterator[str]:
    """The parts of `text` between separators that stand outside of brackets and quotes."""
    start = depth = 0
    quote = ""
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in _QUOTES:
            quote = character
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif character == separator and not depth:
            yield _part(text, start, place, what)
            start = place + 1
        if depth < 0:
            break
    if depth or quote:
        raise ConfigError(f"{what} {shown(text)}: a bracket or a quotation mark has no other half")
    yield _part(text, start, len(text), what)


def _part(text: str, start: int, end: int, what: str) -> str:
    part = text[start:end].strip()
    if not part:
        raise ConfigError(f"{what} {shown(text)}: a name is missing")
    return part
