from __future__ import annotations

from pathlib import Path

from prices_kit import hostile, priced_rows

from mithridate.core.prices import PRICES, Price, Priced
from mithridate.core.tables import read_rows, write_rows


def test_a_price_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = hostile(priced_rows((0, 1)), "\u202e <script>")
    write_rows(tmp_path / PRICES, Priced, rows)
    found = read_rows(tmp_path / PRICES, Priced)
    assert found == rows
    assert {type(row.metric) for row in found} == {Price}
    assert {row.metric for row in found} == set(Price), "the kit has all that is ever measured"
