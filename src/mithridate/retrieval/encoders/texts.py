"""What every encoder does to a text before it reads it."""

from __future__ import annotations

import re

_LONE = re.compile("[\ud800-\udfff]")
_WORD = re.compile(r"\S+")


def readable(text: str) -> str:
    """`text` with each lone surrogate, which no tokenizer takes, replaced by U+FFFD: offsets stay valid."""
    return _LONE.sub("\ufffd", text)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where the words stand that white space separates, as character offsets."""
    return [match.span() for match in _WORD.finditer(text)]
