"""Names that are folded at their joints where a column of a terminal's table is too narrow for them."""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

_JOINT = re.compile(r"(?<=[+(,_ ])")


class FoldedName:
    """A chain of defences, such as `ragpart+ragmask(delta=0.1)`, on as few lines as there is room for.

    Rich alone knows no joints but spaces, and would cut such a name anywhere.
    """

    def __init__(self, name: str, style: str = "") -> None:
        self._name, self._style = name, style
        self._pieces = [piece for piece in _JOINT.split(name) if piece]

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        longest = max((cell_len(piece.rstrip()) for piece in self._pieces), default=0)
        return Measurement(longest, cell_len(self._name)).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [""]
        for piece in self._pieces:
            if lines[-1] and cell_len((lines[-1] + piece).rstrip()) > options.max_width:
                lines.append("")
            lines[-1] += piece
        yield Text("\n".join(line.rstrip() for line in lines), style=self._style, overflow="fold")
