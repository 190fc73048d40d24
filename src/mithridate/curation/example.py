"""One example as curation sees it: who says what, and the words of it that filters and scores look at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Final

from mithridate.corpus.alignment_data import Turn

_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True)
class Example:
    """A conversation that ends with the assistant, and where it came from."""

    turns: Sequence[Turn]
    source: str

    @cached_property
    def exchanges(self) -> list[tuple[str, str]]:
        """What the user said and what the assistant answered, in turn; a system's words are the user's."""
        found: list[tuple[str, str]] = []
        asked: list[str] = []
        for turn in self.turns:
            if turn["role"] == "assistant":
                found.append(("\n".join(asked), turn["content"]))
                asked = []
            else:
                asked.append(turn["content"])
        return found

    @cached_property
    def request(self) -> str:
        """All that is asked: what is embedded."""
        return "\n".join(asked for asked, _ in self.exchanges if asked)

    @cached_property
    def reply(self) -> str:
        """The last reply, for whose sake the example is there."""
        return self.exchanges[-1][1]

    @cached_property
    def words(self) -> list[tuple[list[str], list[str]]]:
        """The words of each exchange in lower case, without signs."""
        return [(_WORD.findall(a.lower()), _WORD.findall(b.lower())) for a, b in self.exchanges]

    @cached_property
    def digest(self) -> int:
        """64 bits of a hash of the conversation alone: the same words in the same turns have the same."""
        told = "\x1e".join(f"{turn['role']}\x1f{turn['content']}" for turn in self.turns)
        return int.from_bytes(blake2b(told.encode(), digest_size=8).digest(), "big")
