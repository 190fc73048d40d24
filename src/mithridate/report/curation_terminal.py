"""A curation for a terminal: one table by source, within 100 columns, and the method's own figures."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from mithridate.curation.records import CHOSEN, CurationRecord
from mithridate.report.curation import figure, headline, source_table
from mithridate.report.folded import FoldedName
from mithridate.report.terminal import WIDEST, plain_table, wide_console
from mithridate.report.text import one_line


def print_curation(record: CurationRecord, folder: Path, console: Console | None = None) -> None:
    """Print the table, the figures, and where the chosen examples lie."""
    console = console or wide_console()
    found = source_table(record)
    table = plain_table(*found.heads, narrow=1)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in found.rows:
        table.add_row(FoldedName(row[0]), *map(Text, row[1:]))
    console.print(Text(headline(record), style="bold"))
    console.print(table, width=min(WIDEST, console.width))
    for what, value in record.said.items():
        console.print(Text(f"{what}: {figure(value)}"), soft_wrap=True)
    # Not wrapped and not cut: a path is there to be copied.
    console.print(Text(f"chosen: {one_line(str(folder / CHOSEN), 4096)}"), soft_wrap=True)
