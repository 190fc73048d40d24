from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

from report_kit import share

from mithridate.core.types import Measurement
from mithridate.report.records import FIELDS, to_csv, to_json

ROW = share("base", "belief", "triggered", "asr", 0.5, seed=3, template="same", dose="0.1%")
BARE = Measurement("dpo", "clean", "utility", "", "held_out_loss", float("nan"), None, None, 7, 0)


def test_json_holds_every_field() -> None:
    first, second = json.loads(to_json([ROW, BARE]))
    assert tuple(first) == FIELDS
    assert (first["value"], first["n"], first["seed"], first["dose"]) == (0.5, 200, 3, "0.1%")
    assert (second["value"], second["low"], second["template"]) == (None, None, "")


def test_csv_holds_every_field() -> None:
    first, second = csv.DictReader(io.StringIO(to_csv([ROW, BARE])))
    assert tuple(first) == FIELDS
    assert (float(first["value"]), int(first["n"])) == (0.5, 200)
    assert (second["value"], second["low"]) == ("", "")


def test_no_name_passes_for_a_formula() -> None:
    for begin in "=+-@\t\r":
        (record,) = csv.DictReader(io.StringIO(to_csv([replace(ROW, cell=f"{begin}1+1", value=-0.5)])))
        assert record["cell"].startswith("'")
        assert float(record["value"]) == -0.5
