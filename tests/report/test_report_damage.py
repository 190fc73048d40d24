"""A run whose files were damaged is reported as far as its figures go, or refused with what to do."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from report_kit import STUDY

from mithridate.core.errors import DataError, MithridateError, RunStateError
from mithridate.core.run_files import CurveRow, PlantedKind, PlantingRow
from mithridate.core.tables import read_rows, write_rows
from mithridate.core.types import Measurement, Sample
from mithridate.report.html import write_report
from mithridate.report.run import RunData, read_measurements
from mithridate.report.terminal import print_report
from mithridate.report.view import View


@pytest.fixture
def copy(run_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


def change(path: Path, column: str, value: Callable[[Any], Any], kind: pa.DataType | None = None) -> None:
    table = pq.read_table(path)
    place = table.column_names.index(column)
    values = pa.array(map(value, table.column(column).to_pylist()), kind or table.schema.field(column).type)
    pq.write_table(table.set_column(place, column, values), path)


def report(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """The page and what the terminal shows."""
    data = RunData.read(folder)
    page = write_report(data)
    print_report(View(data), page)
    return page.read_text(encoding="utf-8"), capsys.readouterr().out


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_figure_that_is_no_number_is_shown_as_none(
    copy: Path, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    rows = read_rows(copy / "measurements.parquet", Measurement)
    for field in ("value", "low", "high"):
        bad = [replace(row, **{field: value}) if row.attack == "belief" else row for row in rows]
        write_rows(copy / "measurements.parquet", Measurement, bad)
        page, shown = report(copy, capsys)
        for text in (page.partition("<script")[0], shown):
            assert "nan%" not in text.lower()
            assert "inf%" not in text.lower()
        if field == "value":
            (line,) = [line for line in shown.splitlines() if line.startswith("Belief")][:1]
            assert "–" in line


@pytest.mark.parametrize("value", [-5.0, 7.0])
def test_a_rate_that_is_no_rate_is_no_evidence(
    copy: Path, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    change(copy / "measurements.parquet", "value", lambda _: value)
    page, _ = report(copy, capsys)
    assert "no paired figures" in page
    assert "not tested" in page


def test_no_figure_at_all(copy: Path) -> None:
    write_rows(copy / "measurements.parquet", Measurement, [])
    for read in (RunData.read, read_measurements):
        with pytest.raises(RunStateError, match=rf"holds no figure.*mithridate run .*--out {copy}"):
            read(copy)


def test_every_prefix_of_a_study_file_is_whole_or_refused(copy: Path) -> None:
    whole = yaml.safe_load(STUDY)
    for end in range(0, len(STUDY.encode()), 7):
        (copy / "study.yaml").write_bytes(STUDY.encode()[:end])
        try:
            study = RunData.read(copy).study
        except DataError as error:
            assert "study.yaml" in str(error)
            assert "mithridate run --dry-run" in str(error)
        else:
            assert list(study["attacks"]) == list(whole["attacks"])
            assert list(study["doses"]) == list(whole["doses"])


def test_a_grid_over_doses_names_them_itself(copy: Path) -> None:
    study = STUDY.replace("doses:\n", "doses:\n  other: {all: {rate: 0.1}}\ngrid:\n  doses: [1, 2]\n_:\n")
    (copy / "study.yaml").write_text(study)
    assert RunData.read(copy).measurements


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("title: !!int abc", "'abc' cannot be read as int"),
        ("title: " + "9" * 6000, "cannot be read as int"),
        ("a: " + "[" * 3000, "nested more than"),
        ("a: &a [*a]", "an anchor that holds itself"),
        ("title: 2024-13-45", "does not name"),
        ("attacks: 3\ndoses: 4", "does not name"),
        ("1: 2", "put it in quotes"),
        ("", "not a study file"),
    ],
)
def test_a_study_file_that_is_none(copy: Path, content: str, said: str) -> None:
    (copy / "study.yaml").write_text(content)
    with pytest.raises(DataError, match=r"study\.yaml.*mithridate run --dry-run") as caught:
        RunData.read(copy)
    assert said in str(caught.value)


def test_a_plan_of_words(copy: Path) -> None:
    change(copy / "planting.parquet", "tokens", lambda _: "many", pa.string())
    with pytest.raises(DataError, match=r"planting\.parquet: does not hold the types of PlantingRow"):
        RunData.read(copy)


def test_a_ledger_of_lists(copy: Path) -> None:
    change(copy / "ledger.parquet", "kind", lambda kind: [kind], pa.list_(pa.string()))
    with pytest.raises(DataError, match=r"ledger\.parquet: does not hold the types of PlantedKind"):
        RunData.read(copy)


TABLES = {
    "measurements": Measurement,
    "samples": Sample,
    "curves": CurveRow,
    "planting": PlantingRow,
    "ledger": PlantedKind,
}
NAMES = ("stage", "arm", "dose", "attack", "condition", "metric", "template", "model")


@pytest.mark.parametrize(
    ("name", "column"),
    [(name, field.name) for name, row in TABLES.items() for field in fields(row) if field.name in NAMES],
)
def test_words_that_nobody_knows(
    copy: Path, capsys: pytest.CaptureFixture[str], name: str, column: str
) -> None:
    """Whatever stands in a column of names, there is a page, or an error that says what is wrong."""
    path = copy / f"{name}.parquet"
    change(path, column, lambda value: f"{value}?" if value else value)
    try:
        page, _ = report(copy, capsys)
    except MithridateError as error:
        assert str(copy) in str(error)
    else:
        assert page
