"""Errors as commands say them: in a line, made inert, and with an exit code that tells them from findings."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.text import Text

from mithridate.core.errors import MithridateError


def say_error(error: MithridateError) -> None:
    """Print an error made for users on standard error, without a traceback."""
    words = Text.assemble(("error:", "red"), " ", printable(str(error)))
    Console(stderr=True).print(words, soft_wrap=True)


def printable(text: str) -> str:
    """The text without control characters: a file name or a field may come from a hostile corpus."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


@contextmanager
def errors_exit(code: int) -> Iterator[None]:
    """Leave with `code` whatever goes wrong in here, for a command whose 1 means something else.

    Python and typer would leave with 1. A reader that closed the pipe is no error of the command.
    """
    try:
        yield
    except MithridateError as error:
        say_error(error)
        raise typer.Exit(code) from None
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception:
        # No error made for users: its traceback is what a bug report needs.
        traceback.print_exc()
        raise typer.Exit(code) from None
