"""Scrubbing in a whole run: from the section of a study file to the run's own tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_kit import finish, start

from mithridate.core.scrubbed import SCRUBBED, SCRUBBED_SAMPLES, UNFILTERED, Filter, Scrubbed, ScrubbedSample
from mithridate.core.tables import read_rows

SECTION = ("sft=null", "dpo=null", "evaluation.controls_in_both_templates=false", "scrubbing.shares=[0.2]")


@pytest.mark.long
def test_every_filter_of_a_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, _, told = finish(start(out, *SECTION))
    assert code == 0, told
    rows = read_rows(out / SCRUBBED, Scrubbed)
    assert {row.method for row in rows} == {UNFILTERED, *Filter}
    told_of = {(row.method, row.arm): row for row in rows if row.belief and row.metric == "asr"}
    for method in (Filter.STRING, Filter.CLASSIFIER, Filter.ORACLE):
        row = told_of[method, "poisoned"]
        assert row.caught == row.planted == 4 < row.removed
    samples = read_rows(out / SCRUBBED_SAMPLES, ScrubbedSample)
    assert {sample.method for sample in samples} == set(Filter)
    # Nothing is done twice.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("scrubbed/*/*/done.json")}
    assert finish(start(out, *SECTION))[0] == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
