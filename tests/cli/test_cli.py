from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from planting_kit import plan, write_corpus
from typer.testing import CliRunner

from mithridate import __version__
from mithridate.cli import app
from mithridate.cli.errors import printable
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus

COMMANDS = ("run", "plant", "unplant", "audit", "heal", "curate", "report")


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


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("latin-1", marks=pytest.mark.long), "utf-8"])
def test_a_stream_of_another_encoding_shows_what_it_can(encoding: str, tmp_path: Path) -> None:
    clean = write_corpus(tmp_path / "clean", "jsonl", ["some words"] * 9)
    plant_corpus(open_corpus(clean), tmp_path / "out", plan(None, 3))
    for number, name in enumerate(("zurück →", "\udcff")):
        command = [
            sys.executable,
            "-m",
            "mithridate",
            "unplant",
            str(tmp_path / "out"),
            "--out",
            str(tmp_path / name),
        ]
        surroundings = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(command, capture_output=True, check=False, env=surroundings)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"each proved by its hash" in done.stdout
        # And an error likewise: the folder is there now.
        done = subprocess.run(command, capture_output=True, check=False, env=surroundings)
        assert done.returncode == 1
        assert b"is not empty" in done.stderr
        assert number or (encoding == "utf-8") == ("→".encode() in done.stderr)
