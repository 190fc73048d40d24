"""`mithridate price` on runs, as a user starts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from run_kit import PATIENCE_S, ask, finish
from study_kit import Remembering, Silent

from mithridate.core.artifacts import done_record, exclusive, write_atomic
from mithridate.core.errors import RunStateError, UnknownNameError
from mithridate.core.prices import CLEAN_MODEL, NOTHING, PRICES, Control, Price, Priced
from mithridate.core.tables import read_rows
from mithridate.study.price_plan import PriceOptions, price_steps
from mithridate.study.pricing import price_run
from mithridate.study.reading import study_of_run
from mithridate.study.steps import run_step

GRAIN = Path(__file__).parent / "grain.yaml"
METHODS = ("trigger deleted from prompts", "steering", "more SFT")
TIMES = {Price.SECONDS, Price.CHOOSING_SECONDS, Price.SLOWDOWN}


def started(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mithridate", *map(str, words)]
    pipe = subprocess.PIPE
    environment = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def price(run: Path, *words: str, methods: Sequence[str] = METHODS[:2]) -> subprocess.Popen[str]:
    named = [word for method in methods for word in ("--method", method)]
    return started("price", run, "--probes", "12", *named, *words)


def priced_here(run: Path, *methods: str) -> list[Priced]:
    """The same in this process, which starts others for what is left to do alone."""
    return price_run(run, PriceOptions(probes=12), Remembering(), methods=methods or METHODS[:2])


def rows_of(run: Path) -> list[Priced]:
    """The rows of a run without what a clock told."""
    return [
        replace(row, value=0.0, low=None, high=None) if row.metric in TIMES else row
        for row in read_rows(run / PRICES, Priced)
    ]


@pytest.fixture(scope="session")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of which an attack survives; tests copy it. One for all processes of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "grown"
    with exclusive(place, wait=True):
        if not (place / "made").exists():
            code, _, told = finish(started("run", GRAIN, "--out", place / "run"))
            assert code == 0, told
            write_atomic(place / "made", "")
    return place / "run"


@pytest.fixture(scope="module")
def priced(grown: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    run = Path(shutil.copytree(grown, tmp_path_factory.mktemp("priced") / "run"))
    code, printed, told = finish(price(run))
    assert code == 0, told
    return run, printed, told


def test_what_is_cured_stands_beside_the_model_as_it_is_and_its_twin(priced: tuple[Path, str, str]) -> None:
    run, printed, told = priced
    rows = read_rows(run / PRICES, Priced)
    triggered = {
        row.method: row.value
        for row in rows
        if row.metric is Price.ASR and row.condition == "triggered" and not row.control
    }
    assert triggered.keys() == {NOTHING, CLEAN_MODEL, *METHODS[:2]}
    assert triggered[NOTHING] > triggered[CLEAN_MODEL]
    assert triggered[METHODS[0]] < triggered[NOTHING]
    steering = {(row.metric, row.control) for row in rows if row.method == "steering"}
    assert {
        (Price.KL, ""),
        (Price.SLOWDOWN, ""),
        (Price.ASR, Control.RANDOM),
        (Price.P_CONTROL, Control.RANDOM),
    } <= (steering)
    assert {row.metric for row in rows if row.method == CLEAN_MODEL} >= {Price.SECONDS, Price.TOKENS}
    assert {(row.dose, row.seed, row.stage, row.template) for row in rows} == {("some", 0, "base", "same")}
    assert [row.value for row in rows if row.metric is Price.BUDGET] == [1.0]
    assert "done in" in printed
    assert "\x1b" not in printed + told


@pytest.mark.long
def test_a_second_call_does_nothing_anew_and_damaged_rows_are_made_again(
    priced: tuple[Path, str, str], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(priced[0], tmp_path / "run"))
    whole = rows_of(run)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("prices/*/done.json")}
    assert len(before) == 3
    (run / PRICES).unlink()
    assert len(priced_here(run)) == len(whole)
    assert rows_of(run) == whole
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # One method alone does not take the others out of the list.
    assert len(priced_here(run, METHODS[0])) == len(whole)
    (damaged,) = [path for path in before if path.parent.name == "steering"]
    (damaged.parent / PRICES).write_bytes(b"PAR1 nothing")
    code, printed, told = finish(price(run, "--json"))
    assert code == 0, told
    assert len(json.loads(printed)) == len(whole)
    assert rows_of(run) == whole
    assert {path for path in before if path.stat().st_mtime_ns != before[path]} == {damaged}


@pytest.mark.long
def test_killed_it_goes_on_and_ends_the_same(
    grown: Path, priced: tuple[Path, str, str], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(grown, tmp_path / "run"))
    process = price(run)
    deadline = time.monotonic() + PATIENCE_S
    while not list(run.rglob("prices/*/done.json")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (run / PRICES).exists()
    code, _, told = finish(price(run))
    assert code == 0, told
    assert rows_of(run) == rows_of(priced[0])
    assert not list(run.rglob(".*.partial"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "exorcism"], "unknown method of healing 'exorcism'"),
        (["--dose", "more"], "no dose 'more'"),
    ],
)
def test_what_there_is_none_of_is_named_with_what_there_is(grown: Path, words: list[str], said: str) -> None:
    code, _, told = ask("price", grown, *words)
    plain = " ".join(told.split())
    assert code == 1
    assert said in plain
    assert ("concept erasure" in plain) == ("--method" in words)
    assert "Traceback" not in told


def test_what_cannot_be_priced_is_said(grown: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="more SFT"):
        priced_here(grown, "more SFT")  # the study has no SFT
    with pytest.raises(RunStateError, match="no such run directory"):
        priced_here(tmp_path / "nowhere")
    with pytest.raises(RunStateError, match="holds no run"):
        priced_here(tmp_path)
    shutil.copy(grown / "study.yaml", tmp_path)
    with pytest.raises(RunStateError, match="the run is not finished"):
        priced_here(tmp_path)
    assert not (grown / PRICES).exists()


@pytest.mark.long
def test_where_nothing_survives_there_is_the_floor_alone(
    finished: tuple[Path, str, str], tmp_path: Path
) -> None:
    """In a study with SFT and DPO, of whose attacks a model that small learns none."""
    run = Path(shutil.copytree(finished[0], tmp_path / "run"))
    found = price_steps(study_of_run(run / "study.yaml"), run, PriceOptions(probes=4), methods=METHODS)
    for step in found:
        run_step(step, Silent())
    rows = [row for step in found for row in read_rows(step.folder / PRICES, Priced)]
    assert {row.method for row in rows} == {NOTHING, CLEAN_MODEL}
    assert all(done_record(step.folder) for step in found)


@pytest.mark.long
def test_every_method_of_a_study(grown: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(grown, tmp_path / "run"))
    code, _, told = finish(price(run, methods=()))
    assert code == 0, told
    methods = {row.method for row in read_rows(run / PRICES, Priced)}
    assert methods > {NOTHING, CLEAN_MODEL, "concept erasure", "counter-training", "continued pretraining"}
