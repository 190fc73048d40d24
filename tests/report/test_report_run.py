from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mithridate.core.errors import DataError, RunStateError
from mithridate.report.run import REQUIRED, RunData, read_measurements


@pytest.fixture
def copy(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


def test_reads_everything(run: RunData) -> None:
    assert run.title == "Poison in a miniature world"
    assert run.measurements and run.samples and run.curves
    assert run.rate("0.1%", "belief") == pytest.approx(40 * 96 / 4_000_000)
    assert run.rate("none", "belief") is None


@pytest.mark.parametrize("name", REQUIRED)
def test_an_incomplete_run_names_what_is_missing_and_what_completes_it(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(RunStateError, match=rf"lacks {name}.*mithridate run .*--out {copy}"):
        RunData.read(copy)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunStateError, match="no such run directory"):
        RunData.read(tmp_path / "nothing")


def test_figures_alone_need_nothing_else(copy: Path) -> None:
    for name in REQUIRED:
        if name != "measurements.parquet":
            (copy / name).unlink()
    assert read_measurements(copy)


def test_the_summary_may_be_absent(copy: Path) -> None:
    (copy / "summary.json").unlink()
    run = RunData.read(copy)
    assert run.title == "Poison in a miniature world"
    assert run.rate("0.1%", "belief") is None


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("summary.json", "{", "is not JSON"),
        ("summary.json", '{"tokens": "many"}', "field 'tokens'"),
        ("study.yaml", "a: [", "line 1: not YAML"),
        ("study.yaml", "- a", "not a study file"),
        ("samples.parquet", "PAR1", "cannot be read as Parquet"),
        ("ledger.parquet", "PAR1", "cannot be read as Parquet"),
    ],
)
def test_a_broken_file_is_named(copy: Path, name: str, content: str, problem: str) -> None:
    (copy / name).write_text(content)
    with pytest.raises(DataError, match=problem) as caught:
        RunData.read(copy)
    assert name in str(caught.value)


def test_a_ledger_of_several_seeds_is_read_as_one_model(copy: Path) -> None:
    before = RunData.read(copy)
    ledger = pq.read_table(copy / "ledger.parquet")
    twice = [ledger.append_column("seed", pa.array([seed] * len(ledger))) for seed in (0, 1)]
    pq.write_table(pa.concat_tables(twice), copy / "ledger.parquet")
    after = RunData.read(copy)
    assert after.rate("learning", "belief") == before.rate("learning", "belief")
    assert after.planted == before.planted


def test_a_ledger_without_a_column(copy: Path) -> None:
    pq.write_table(pq.read_table(copy / "ledger.parquet").drop(["tokens"]), copy / "ledger.parquet")
    with pytest.raises(DataError, match="lacks the columns tokens"):
        RunData.read(copy)
