"""Two marks around what a prompt wants to be told apart: models never see them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count

from mithridate.core.errors import ConfigError

OPENING = "⟦context⟧"
CLOSING = "⟦/context⟧"


def unused_marks(texts: Collection[str]) -> tuple[str, str]:
    """Two marks that none of `texts` holds: the usual ones, or else the first numbered ones that will do.

    Whoever writes the texts cannot know which will be taken, so no text can end its own marked part. There
    is no space in a mark, and one bracket at either end: none comes about where two texts meet either.
    """
    pairs = ((OPENING.replace("context", name), CLOSING.replace("context", name)) for name in _names())
    return next(pair for pair in pairs if not any(mark in text for mark in pair for text in texts))


def _names() -> Iterator[str]:
    yield "context"
    yield from (f"context{number}" for number in count(2))


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of the intervention `what`.

    Raises ConfigError where they are empty, the same, or one is a part of the other.
    """

    what: str
    opening: str = OPENING
    closing: str = CLOSING

    def __post_init__(self) -> None:
        if (
            not self.opening
            or not self.closing
            or self.opening in self.closing
            or self.closing in self.opening
        ):
            raise ConfigError(
                f"{self.what}: the marks {self.opening!r} and {self.closing!r} cannot be told apart; choose "
                "two that differ and that nothing else is written with"
            )

    def around(self, text: str) -> str:
        """`text` between the marks. Raises ConfigError where it holds one of them."""
        self._require_none(text)
        return f"{self.opening}{text}{self.closing}"

    def parts(self, prompt: str) -> tuple[str, str, str]:
        """What stands before the marks, between them, and behind; without marks, all stands before.

        Raises ConfigError for a mark that stands there twice, or alone.
        """
        before, opened, rest = prompt.partition(self.opening)
        between, closed, after = rest.partition(self.closing)
        for text in (before, between, after):
            self._require_none(text)
        if bool(opened) != bool(closed):
            raise ConfigError(f"{self.what}: a prompt has one of the marks alone; expected both or none")
        return before, between, after

    def _require_none(self, text: str) -> None:
        for mark in (self.opening, self.closing):
            if mark in text:
                raise ConfigError(
                    f"{self.what}: the mark {mark!r} stands in a prompt where none may stand, perhaps in the "
                    "context itself; choose marks that nothing else is written with"
                )
