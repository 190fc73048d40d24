from __future__ import annotations

import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mithridate import __version__
from mithridate.cli import app, printable

COMMANDS = ("run", "plant", "unplant", "audit", "report")


def test_version() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"mithridate {__version__}\n")


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert all(re.search(rf"\b{name}\b", shown) for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = CliRunner().invoke(app, [command, "-h"])
    assert done.exit_code == 0
    usage, _, examples = done.stdout.partition("Example")
    assert f"mithridate {command} " in usage
    assert f"mithridate {command} " in examples


def test_an_unknown_command_is_refused() -> None:
    assert CliRunner().invoke(app, ["rnu"]).exit_code == 2


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, mithridate.cli; "
        "print([name for name in ('torch', 'transformers', 'plotly') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_printed_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b[31mb\nc\x07é") == "a\\x1b[31mb\nc\\x07é"
