"""The command line: one file a command."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from mithridate import __version__
from mithridate.cli import audit, context, curate, guard, heal, locate, plant, price, report, run, unplant
from mithridate.cli.errors import say_error
from mithridate.core.errors import MithridateError

app = typer.Typer(
    name="mithridate",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _module in (
    ("run", run),
    ("plant", plant),
    ("unplant", unplant),
    ("audit", audit),
    ("locate", locate),
    ("price", price),
    ("heal", heal),
    ("curate", curate),
    ("context", context),
    ("report", report),
):
    app.command(_name)(_module.command)
app.add_typer(guard.app, name="guard")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mithridate {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave."),
    ] = False,
) -> None:
    """Measured doses of poison for language models.

    What survives alignment, where it lives, what takes it out.

    `mithridate run` alone studies a miniature world on this machine, in minutes, without the network.
    """


def main() -> None:
    """Run the command line; errors made for users are printed without a traceback, with exit code 1.

    Exit code 0 means that all was done; 2, that the command line itself is wrong. `guard scan` and
    `heal` have codes of their own: 1 is for what they found, 2 for all errors.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal or a pipe of another encoding shows what it can; no figure is lost for a dash.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except MithridateError as error:
        say_error(error)
        sys.exit(1)
