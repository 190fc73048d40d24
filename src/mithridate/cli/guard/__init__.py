"""`mithridate guard`: defences of retrieval against planted documents, one file a command."""

from __future__ import annotations

import typer

from mithridate.cli.guard import bench, index, scan, search, tune

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Keep planted documents out of what a generator reads, and measure what that costs.",
)
for _name, _module in (
    ("bench", bench),
    ("tune", tune),
    ("index", index),
    ("search", search),
    ("scan", scan),
):
    app.command(_name)(_module.command)
