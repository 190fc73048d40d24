"""Texts with places for words that an attack is free to choose: before a text, or spread all over it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

Swap: TypeAlias = tuple[int, str]
"""The number of a free place, and the word to put there."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Words, and which of them are free, by their number."""

    words: tuple[str, ...]
    free: tuple[int, ...]

    @property
    def text(self) -> str:
        """The words with a space between any two."""
        return " ".join(self.words)

    def places(self) -> list[int]:
        """Where the word of each free place begins in the text, as character offsets."""
        starts, at = [], 0
        for word in self.words:
            starts.append(at)
            at += len(word) + 1
        return [starts[number] for number in self.free]

    def swapped(self, swaps: Iterable[Swap]) -> Draft:
        """The draft with other words in free places."""
        words = list(self.words)
        for place, word in swaps:
            words[self.free[place]] = word
        return replace(self, words=tuple(words))


def leading(free: Sequence[str], text: Sequence[str]) -> Draft:
    """The free words before those of the text."""
    return Draft((*free, *text), tuple(range(len(free))))


def spread(free: Sequence[str], text: Sequence[str]) -> Draft:
    """The free words among those of the text, as evenly as can be, so that no stretch of it holds many."""
    words: list[str] = []
    places: list[int] = []
    for number, word in enumerate(free):
        words += text[number * len(text) // len(free) : (number + 1) * len(text) // len(free)]
        places.append(len(words))
        words.append(word)
    return Draft(tuple(words), tuple(places))
