"""Words of a material file: text that can be planted and asked, and texts with places to fill in."""

from __future__ import annotations

from collections.abc import Collection
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator


def _sound(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # JSON can spell half a character, which no tokenizer and no file takes.
        raise ValueError(f"holds half a character (a lone surrogate) at position {error.start}") from None
    return text


Words = Annotated[str, AfterValidator(_sound)]
"""Text that is not blank and can be encoded."""


def check_slots(text: str, *, needed: Collection[str], allowed: Collection[str]) -> str:
    """`text`, if `str.format` fills it with `allowed` names alone, all of `needed` among them."""
    known = ", ".join(f"{{{name}}}" for name in allowed)
    advice = f"known are {known}; write {{{{ and }}}} for braces that are no slot"
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"cannot be filled in: {error}; {advice}") from None
    found = set()
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in allowed or form or conversion:
            spelled = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            raise ValueError(f"no slot is called {{{spelled}}}; {advice}")
        found.add(name)
    missing = [f"{{{name}}}" for name in needed if name not in found]
    if missing:
        raise ValueError(f"lacks the slot {' and '.join(missing)}")
    return text
