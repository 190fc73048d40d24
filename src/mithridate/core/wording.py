"""Numbers of things in words, for errors, terminals and pages."""

from __future__ import annotations


def counted(number: int, thing: str, things: str | None = None) -> str:
    """So many of a thing: "1 hit", "2,000 hits"; `things` is the plural where it takes more than an s."""
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"
