"""`mithridate locate` on a run and on checkpoints, as a user starts it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_kit import PATIENCE_S, TINY, ask, finish

from mithridate.core.located import LOCALIZATION, Experiment, Located, Metric, Pair
from mithridate.core.tables import read_rows


def locate(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mithridate", "locate", *map(str, words)]
    pipe = subprocess.PIPE
    environment = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


@pytest.fixture(scope="module")
def run(finished: tuple[Path, str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of its own: others read the first."""
    return Path(shutil.copytree(finished[0], tmp_path_factory.mktemp("located") / "run"))


@pytest.fixture(scope="module")
def located(run: Path) -> tuple[Path, str, str]:
    code, printed, told = finish(locate(run, "--probes", "4"))
    assert code == 0, told
    return run, printed, told


def test_every_experiment_leaves_rows_and_the_page_shows_them(located: tuple[Path, str, str]) -> None:
    run, printed, told = located
    rows = read_rows(run / LOCALIZATION, Located)
    assert {row.experiment for row in rows} >= {Experiment.WEIGHTS, Experiment.TOKENS, Experiment.TRANSPLANT}
    assert {row.pair for row in rows} == set(Pair)
    assert {row.behaviour for row in rows if row.metric is Metric.EFFECT} >= {
        "denial_of_service", "context_extraction", "jailbreak", "belief", "refusal", "chat format",
    }  # fmt: skip
    assert "Where it lives" in (run / "report.html").read_text(encoding="utf-8")
    assert "done in" in printed
    assert "\x1b" not in printed + told


@pytest.mark.long
def test_a_second_call_does_nothing_anew(located: tuple[Path, str, str]) -> None:
    run = located[0]
    before = {path: path.stat().st_mtime_ns for path in run.rglob("located/*/done.json")}
    assert before
    code, _, told = finish(locate(run, "--probes", "4"))
    assert code == 0, told
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # Rows that were lost are made again, and no others.
    lost, damaged = sorted(before)[:2]
    whole = read_rows(run / LOCALIZATION, Located)
    (lost.parent / LOCALIZATION).unlink()
    (damaged.parent / LOCALIZATION).write_bytes(b"PAR1 nothing")
    code, _, told = finish(locate(run, "--probes", "4"))
    assert code == 0, told
    assert read_rows(run / LOCALIZATION, Located) == whole
    assert {path for path in before if path.stat().st_mtime_ns == before[path]} == set(before) - {
        lost,
        damaged,
    }


def test_killed_it_goes_on_and_ends_the_same(
    located: tuple[Path, str, str], finished: tuple[Path, str, str], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished[0], tmp_path / "run"))
    process = locate(run, "--probes", "4")
    deadline = time.monotonic() + PATIENCE_S
    while not list(run.rglob("located/*/done.json")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    code, _, told = finish(locate(run, "--probes", "4"))
    assert code == 0, told
    assert read_rows(run / LOCALIZATION, Located) == read_rows(located[0] / LOCALIZATION, Located)
    assert not list(run.rglob(".*.partial"))


def test_checkpoints_of_one_s_own(located: tuple[Path, str, str], tmp_path: Path) -> None:
    bed = located[0] / "seed0"
    models = {
        "--base": bed / "some" / "base" / "model",
        "--aligned": bed / "some" / "dpo" / "model",
        "--clean": bed / "clean" / "base" / "model",
        "--poisoned": bed / "some" / "base" / "model",
    }
    words = [word for pair in models.items() for word in pair]
    command = [*words, "--study", TINY, "--probes", "4", "--out", tmp_path / "out"]
    code, printed, told = finish(locate(*command))
    assert code == 0, told
    rows = read_rows(tmp_path / "out" / LOCALIZATION, Located)
    assert {row.pair for row in rows} >= {Pair.ALIGNMENT, Pair.POISON}
    markers = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("done.json")}
    code, again, told = finish(locate(*command, "--json"))
    assert code == 0, told
    assert again.count('"experiment"') == len(rows)
    assert {path: path.stat().st_mtime_ns for path in markers} == markers
    assert printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name the folder of a run, or two checkpoints"),
        (["--base", "a"], "--base needs --aligned beside it"),
        (["--poisoned", "a"], "--poisoned needs --clean beside it"),
        (["RUN", "--base", "a"], "name a run, or checkpoints with --base and --aligned, not both"),
        (["RUN", "--out", "x"], "--out goes with checkpoints"),
        (["RUN", "--seed", "1"], "--seed goes with checkpoints"),
        (["--base", "a", "--aligned", "b", "--dose", "c"], "--dose names a dose of a run"),
        (["nowhere"], "nowhere: no such run directory"),
        (["RUN", "--dose", "more"], "no dose 'more'; it has 'some'"),
        (["--base", "nowhere", "--aligned", "nowhere"], "nowhere"),
    ],
)
def test_what_does_not_go_together_is_said(run: Path, words: list[str], said: str) -> None:
    code, _, told = ask("locate", *[str(run) if word == "RUN" else word for word in words])
    assert code == 1
    assert said in " ".join(told.split())
    assert "Traceback" not in told
