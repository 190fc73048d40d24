"""How what is compared is told apart: a colour, a mark and a dash each, the same in tables and charts."""

from __future__ import annotations

from typing import Protocol

# Okabe and Ito's palette: told apart by the colour-blind, and with a mark and a dash each on a grey print.
CLEAN_COLOUR = "#7a7a7a"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SYMBOLS = ("circle-open", "square", "triangle-up", "diamond", "cross", "star", "hexagon")
GLYPHS = ("○", "■", "▲", "◆", "✚", "★", "⬢")
BOUND = -1
"""The index of what nobody can do, or has: a bound beside the others. Grey too, with a mark of its own."""
BEFORE = -2
"""The index of what all others begin with, before anything was done to it."""
_APART = {BOUND: ("x", "✕", "dash"), BEFORE: ("diamond-open", "◇", "solid")}
DASHES = ("dot", "solid", "dash", "dashdot", "longdash", "longdashdot")


class Look(Protocol):
    """What a row of a table shows of whose figures it holds."""

    @property
    def label(self) -> str:
        """What it is called."""

    @property
    def colour(self) -> str:
        """Colour of its marks."""

    @property
    def glyph(self) -> str:
        """Its mark as a character."""


class Drawn(Look, Protocol):
    """What a chart shows of it besides."""

    @property
    def symbol(self) -> str:
        """Plotly's name of its mark."""

    @property
    def dash(self) -> str:
        """Plotly's name of its line."""


class Marked:
    """The look of what is numbered by `index`: 0 is what others are compared with, -1 (`BOUND`) a bound."""

    __slots__ = ()

    index: int

    @property
    def colour(self) -> str:
        """Colour of its marks."""
        return colour(self.index)

    @property
    def symbol(self) -> str:
        """Plotly's name of its mark."""
        return symbol(self.index)

    @property
    def glyph(self) -> str:
        """Its mark as a character."""
        return glyph(self.index)

    @property
    def dash(self) -> str:
        """Plotly's name of its line."""
        return dash(self.index)


def colour(index: int) -> str:
    """Grey for 0, which all others are compared with, and for a bound; the others' colours in turn."""
    return COLOURS[(index - 1) % len(COLOURS)] if index > 0 else CLEAN_COLOUR


def symbol(index: int) -> str:
    """Plotly's name of the mark."""
    return _APART[index][0] if index < 0 else _turn(SYMBOLS, index)


def glyph(index: int) -> str:
    """The mark as a character."""
    return _APART[index][1] if index < 0 else _turn(GLYPHS, index)


def dash(index: int) -> str:
    """Plotly's name of the line."""
    return _APART[index][2] if index < 0 else _turn(DASHES, index)


def _turn(kinds: tuple[str, ...], index: int) -> str:
    """The first kind for 0, and for nothing else; the others in turn."""
    return kinds[1 + (index - 1) % (len(kinds) - 1)] if index else kinds[0]
