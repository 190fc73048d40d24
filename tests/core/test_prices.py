from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from prices_kit import asr, hostile, priced_rows

from mithridate.core.prices import PRICES, Price, Priced
from mithridate.core.tables import read_rows, write_rows


def test_a_price_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = hostile(priced_rows((0, 1)), "\u202e <script>")
    write_rows(tmp_path / PRICES, Priced, rows)
    found = read_rows(tmp_path / PRICES, Priced)
    assert found == rows
    assert {type(row.metric) for row in found} == {Price}
    assert {row.metric for row in found} == set(Price), "the kit has all that is ever measured"


def test_a_price_list_from_before_cures_told_their_aims_is_still_read(tmp_path: Path) -> None:
    rows = priced_rows()
    write_rows(tmp_path / PRICES, Priced, rows)
    pq.write_table(pq.read_table(tmp_path / PRICES).drop_columns(["aims"]), tmp_path / PRICES)
    assert read_rows(tmp_path / PRICES, Priced) == rows


@pytest.mark.parametrize(
    ("aim", "aims", "aimed"),
    [
        ("", "", True),
        ("dos", "", True),
        ("belief", "", False),
        ("", "belief,dos", True),
        ("", "belief,jailbreak", False),
        ("", "belief,dos and more", False),
    ],
)
def test_a_cure_is_made_against_what_it_names(aim: str, aims: str, aimed: bool) -> None:
    assert asr("dos", 0.0, method="edit", aim=aim, aims=aims).aimed is aimed
