from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from mithridate.report.folded import FoldedName
from mithridate.report.terminal import plain_table, wide_console


def printed(name: str, width: int) -> list[str]:
    table = plain_table("setting", "figure", narrow=1)
    table.add_row(FoldedName(name), "1,234")
    stream = io.StringIO()
    Console(file=stream, width=width).print(table)
    lines = [line.rstrip() for line in stream.getvalue().splitlines()[1:]]
    assert lines[0].endswith("1,234")
    return [line.removesuffix("1,234").rstrip() for line in lines]


@pytest.mark.parametrize(
    ("name", "width", "lines"),
    [
        ("ragpart+ragmask+consensus", 60, ["ragpart+ragmask+consensus"]),
        ("ragpart+ragmask+consensus", 26, ["ragpart+ragmask+", "consensus"]),
        ("mean_of_fragments(fragments=3)", 20, ["mean_of_", "fragments(", "fragments=3)"]),
        # No joint is near enough: cut anywhere, and nothing lost.
        ("x" * 25, 20, ["x" * 12, "x" * 12, "x"]),
        ("", 40, [""]),
    ],
)
def test_a_name_is_folded_at_its_joints(name: str, width: int, lines: list[str]) -> None:
    assert printed(name, width) == lines


def test_where_no_terminal_is_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert wide_console().width == 100
    monkeypatch.setenv("COLUMNS", "72")
    assert wide_console().width == 72
