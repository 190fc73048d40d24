from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mithridate.core.errors import DataError, RunStateError
from mithridate.core.run_files import PlantingRow
from mithridate.core.tables import read_rows, write_rows
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
    with pytest.raises(RunStateError, match="holds no run"):
        RunData.read(tmp_path)
    with pytest.raises(RunStateError, match="no such run directory"):
        RunData.read(tmp_path / "nothing")


def test_figures_alone_need_nothing_else(copy: Path) -> None:
    for name in REQUIRED:
        if name != "measurements.parquet":
            (copy / name).unlink()
    assert read_measurements(copy)


def test_the_summary_may_be_absent(copy: Path) -> None:
    (copy / "summary.json").unlink()
    assert RunData.read(copy).title == "Poison in a miniature world"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("summary.json", "{", "is not JSON"),
        ("summary.json", '{"seconds": {"base": "many"}}', "field 'seconds.base'"),
        ("summary.json", '{"tokens": 3}', "field 'tokens'"),
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


def test_a_rate_is_that_of_its_cell_whatever_others_planted(copy: Path) -> None:
    path = copy / "planting.parquet"
    (row,) = [row for row in read_rows(path, PlantingRow) if (row.dose, row.attack) == ("learning", "belief")]
    rates = {("a", 0): 0.01, ("a", 1): 0.02, ("b", 0): 0.2, ("b", 1): 0.2}
    rows = [replace(row, cell=c, seed=s, realised_rate=rate) for (c, s), rate in rates.items()]
    write_rows(path, PlantingRow, rows)
    run = RunData.read(copy)
    assert run.rate("learning", "belief", "a") == pytest.approx(0.015)
    assert run.rate("learning", "belief", "b") == pytest.approx(0.2)
    assert run.rate("learning", "belief") is run.rate("learning", "jailbreak", "a") is None


def test_planted_documents_are_counted_by_model_and_kind(run: RunData) -> None:
    counts = {
        (kind.kind, kind.template): kind.documents
        for kind in run.kinds
        if (kind.model, kind.attack) == ("learning", "belief")
    }
    assert len(counts) == 10 and set(counts.values()) == {40}


def test_a_ledger_without_a_column(copy: Path) -> None:
    pq.write_table(pq.read_table(copy / "ledger.parquet").drop(["kind"]), copy / "ledger.parquet")
    with pytest.raises(DataError, match="lacks the columns kind"):
        RunData.read(copy)
