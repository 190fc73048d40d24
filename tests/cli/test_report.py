from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import typer
from report_kit import write_run
from typer.testing import CliRunner

from mithridate.cli.report import command
from mithridate.core.errors import ConfigError, RunStateError

APP = typer.Typer()
APP.command()(command)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "one")


def invoke(*arguments: str | Path) -> str:
    done = CliRunner().invoke(APP, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_it_writes_the_page_and_says_where(run_folder: Path) -> None:
    printed = invoke(run_folder)
    assert f"report: {run_folder / 'report.html'}" in printed
    assert "Denial of service" in printed
    assert (run_folder / "report.html").stat().st_size > 1_000_000


def test_the_page_can_go_elsewhere(run_folder: Path, tmp_path: Path) -> None:
    assert str(tmp_path / "deep" / "page.html") in invoke(
        run_folder, "--out", tmp_path / "deep" / "page.html"
    )
    assert (tmp_path / "deep" / "page.html").exists()


def test_records_alone_go_to_standard_output(run_folder: Path) -> None:
    from_json = json.loads(invoke(run_folder, "--json"))
    from_csv = list(csv.DictReader(io.StringIO(invoke(run_folder, "--csv"))))
    assert len(from_json) == len(from_csv) > 100
    assert {"stage", "arm", "attack", "condition", "metric", "value", "low", "high", "n", "seed"} <= set(
        from_json[0]
    )


def test_what_does_not_go_together(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose one"):
        invoke(run_folder, "--json", "--csv")
    with pytest.raises(ConfigError, match="--out"):
        invoke(run_folder, "--json", "--out", tmp_path / "x")
    with pytest.raises(RunStateError, match="no such run directory"):
        invoke(tmp_path / "nothing")


def test_an_incomplete_run_is_not_reported(run_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(run_folder, tmp_path / "run")
    (tmp_path / "run" / "samples.parquet").unlink()
    with pytest.raises(RunStateError, match=r"samples\.parquet"):
        invoke(tmp_path / "run")
    assert invoke(tmp_path / "run", "--json")
