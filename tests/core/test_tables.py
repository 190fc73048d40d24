from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mithridate.core.errors import DataError
from mithridate.core.tables import LATER, read_rows, read_tables, schema_of, write_rows, write_tables
from mithridate.core.types import Stage


@dataclass(frozen=True)
class Row:
    name: str
    count: int
    share: float
    good: bool
    stage: Stage
    note: str | None = None
    margin: float | None = None
    late: Stage | None = None


def test_none_and_nan_stay_apart(tmp_path: Path) -> None:
    rows = [
        Row("a", 1, math.nan, True, Stage.SFT, None, None, None),
        Row("", -(2**62), -math.inf, False, Stage.DPO, "", math.nan, Stage.BASE),
    ]
    write_rows(tmp_path / "t.parquet", Row, rows)
    first, second = read_rows(tmp_path / "t.parquet", Row)
    assert (first.note, first.margin, first.late) == (None, None, None)
    assert math.isnan(first.share)
    assert second.note == ""
    assert second.margin is not None
    assert math.isnan(second.margin)
    assert (second.share, second.count) == (-math.inf, -(2**62))
    assert type(first.stage) is Stage
    assert second.late is Stage.BASE


def test_no_rows_keep_their_columns(tmp_path: Path) -> None:
    write_rows(tmp_path / "t.parquet", Row, [])
    assert read_rows(tmp_path / "t.parquet", Row) == []
    assert pq.read_schema(tmp_path / "t.parquet").names == schema_of(Row).names


def test_what_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match=r"t\.parquet: cannot be read as Parquet"):
        read_rows(tmp_path / "t.parquet", Row)
    with pytest.raises(DataError, match=r"absent\.parquet"):
        read_rows(tmp_path / "absent.parquet", Row)


@dataclass(frozen=True)
class Older:
    name: str


@dataclass(frozen=True)
class Newer:
    name: str
    since: str = field(default="always", metadata=LATER)
    other: str = ""


def test_a_column_that_came_later_has_its_default_in_older_tables(tmp_path: Path) -> None:
    write_rows(tmp_path / "t.parquet", Older, [Older("a")])
    with pytest.raises(DataError, match=r"lacks the columns other$"):
        read_rows(tmp_path / "t.parquet", Newer)
    pq.write_table(pa.table({"name": ["a"], "other": ["b"]}), tmp_path / "t.parquet")
    assert read_rows(tmp_path / "t.parquet", Newer) == [Newer("a", "always", "b")]
    write_rows(tmp_path / "t.parquet", Newer, [Newer("a", "now")])
    assert read_rows(tmp_path / "t.parquet", Newer) == [Newer("a", "now")]


def test_a_table_of_other_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"name": ["a"], "count": [1]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="lacks the columns share, good, stage, note, margin, late"):
        read_rows(tmp_path / "t.parquet", Row)


@pytest.mark.parametrize("counts", [["many"], [None]])
def test_a_table_of_other_types(tmp_path: Path, counts: list[str | None]) -> None:
    columns = {"name": ["a"], "count": counts, "share": [0.5], "good": [True], "stage": ["sft"]}
    columns |= {"note": ["n"], "margin": [0.1], "late": ["dpo"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="does not hold the types of Row"):
        read_rows(tmp_path / "t.parquet", Row)


def test_a_name_that_is_none_of_its_kind(tmp_path: Path) -> None:
    write_rows(tmp_path / "t.parquet", Row, [Row("a", 1, 0.5, True, Stage.SFT)])
    table = pq.read_table(tmp_path / "t.parquet")
    place = table.column_names.index("stage")
    pq.write_table(table.set_column(place, "stage", pa.array(["sftt"])), tmp_path / "t.parquet")
    with pytest.raises(
        DataError, match=r"t\.parquet: does not hold the types of Row: 'sftt' is not a valid Stage"
    ):
        read_rows(tmp_path / "t.parquet", Row)


def test_a_text_that_is_no_text(tmp_path: Path) -> None:
    write_rows(tmp_path / "t.parquet", Row, [Row("a", 1, 0.5, True, Stage.SFT)])
    table = pq.read_table(tmp_path / "t.parquet")
    bad = pa.array([b"\xff"]).view(pa.string())
    pq.write_table(table.set_column(0, "name", bad), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="does not hold the types of Row"):
        read_rows(tmp_path / "t.parquet", Row)


def test_a_byte_that_changed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_rows(path, Row, [Row("a", number, number / 7, True, Stage.SFT) for number in range(2000)])
    shares = pq.ParquetFile(path).metadata.row_group(0).column(2)
    content = bytearray(path.read_bytes())
    content[shares.data_page_offset + shares.total_compressed_size // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.parquet: cannot be read as Parquet"):
        read_rows(path, Row)


def test_a_failed_row_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        write_rows(tmp_path / "t.parquet", Row, [object()])
    with pytest.raises(pa.ArrowInvalid):
        write_rows(tmp_path / "t.parquet", Row, [Row("a", "x", 0.0, True, Stage.SFT)])  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_columns_of_another_row_type_are_left_alone(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Fewer:
        count: int
        stage: Stage

    write_rows(tmp_path / "t.parquet", Row, [Row("a", 1, 0.5, True, Stage.SFT)])
    assert read_rows(tmp_path / "t.parquet", Fewer) == [Fewer(1, Stage.SFT)]


def test_tables_are_written_one_after_another(tmp_path: Path) -> None:
    rows = [Row(str(number), number, 0.5, True, Stage.SFT) for number in range(40_000)]
    write_rows(tmp_path / "a.parquet", Row, rows)
    write_rows(tmp_path / "b.parquet", Row, rows[:3])
    parts = [table for name in "ab" for table in read_tables(tmp_path / f"{name}.parquet", Row)]
    assert len(parts) > 2
    write_tables(tmp_path / "both.parquet", schema_of(Row), parts)
    assert read_rows(tmp_path / "both.parquet", Row) == rows + rows[:3]
    with pytest.raises(ValueError):
        write_tables(tmp_path / "not.parquet", schema_of(Row), [pa.table({"name": ["a"]})])
    assert not (tmp_path / "not.parquet").exists()
