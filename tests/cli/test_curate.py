from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from curation_kit import records, write_lines
from typer.testing import CliRunner, Result

from mithridate.cli import app
from mithridate.core.errors import ConfigError, StorageError, UnknownNameError
from mithridate.curation import surveying

FILES = ["chosen.jsonl", "coverage.html", "curation.json", "decisions.parquet"]


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(
        app, ["curate", *map(str, arguments)], catch_exceptions=False, env={"COLUMNS": "100"}
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "a.jsonl", records(30, sources=("<b>one</b>", "two\x1b[31m", "three")))


def test_all_is_written_and_told(data: Path, tmp_path: Path) -> None:
    done = invoke(data, "--n", "6", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    assert len((tmp_path / "out" / "chosen.jsonl").read_text().splitlines()) == 6
    assert "6 examples of 30 by diverse" in done.output
    assert "\x1b[31m" not in done.output
    assert max(map(len, done.output.splitlines()[:-1])) <= 100
    page = (tmp_path / "out" / "coverage.html").read_text(encoding="utf-8")
    assert "<b>one</b>" not in page
    assert "&lt;b&gt;one" in page


def test_the_same_command_writes_the_same(data: Path, tmp_path: Path) -> None:
    for name in ("x", "y"):
        invoke(
            data, "--n", "6", "--method", "facility", "--option", "candidates=20", "--out", tmp_path / name
        )
    for file in ("chosen.jsonl", "decisions.parquet"):
        assert (tmp_path / "x" / file).read_bytes() == (tmp_path / "y" / file).read_bytes()


def test_options_reach_method_and_filters(data: Path, tmp_path: Path) -> None:
    arguments = ("--filter", "length.shortest=10", "--filter", "refusal=off", "--option", "temperature=1")
    invoke(data, "--n", "3", *arguments, "--as", "messages", "--out", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "curation.json").read_text())
    assert told["options"] == {"temperature": 1.0}
    assert told["filters"]["length"]["shortest"] == 10
    assert "refusal" not in told["filters"]


def test_what_is_wrong_is_said_before_anything_is_read(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for arguments, kind, words in (
        (("--method", "best"), UnknownNameError, "known are complexity-quality, diverse"),
        (("--encoder", "bert"), UnknownNameError, "known are hashing, minilm"),
        (("--filter", "length"), ConfigError, "write it as key=value"),
        (("--filter", "length=3"), ConfigError, "length.option=value, or length=off"),
        (("--filter", "lenth.shortest=3"), ConfigError, "lenth"),
        (("--filter", "off.length=3"), ConfigError, "filters: off"),
        (("--option", "k=3"), ConfigError, "method diverse: unknown key 'k'"),
    ):
        with pytest.raises(kind, match=words):
            invoke(tmp_path / "none", *arguments, "--out", out)
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(StorageError, match="holds other things"):
        invoke(tmp_path / "none", "--out", out)
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_a_curation_can_lie_beside_its_own_data_and_be_made_again(data: Path, tmp_path: Path) -> None:
    told = []
    for name in ("x", "y"):
        invoke(data.parent, "--n", "6", "--out", tmp_path / name)
        told.append(json.loads((tmp_path / name / "curation.json").read_text())["files"])
    assert told[0] == told[1] and [file["name"] for file in told[0]] == ["a.jsonl"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_curation_that_is_stopped_leaves_nothing(
    number: signal.Signals, code: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def stopped(*_: Any) -> None:
        made.extend(path.name for path in tmp_path.glob(".*"))
        os.kill(os.getpid(), number)

    monkeypatch.setattr(surveying, "on_grid", stopped)
    # Where tests run in the background, Ctrl-C is ignored from the start.
    heeded = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGTERM)
    done = invoke(data, "--n", "6", "--out", tmp_path / "out")
    signal.signal(signal.SIGINT, heeded)
    assert (done.exit_code, made) == (code, [".out.curating"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
    assert signal.getsignal(signal.SIGTERM) == before
