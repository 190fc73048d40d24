"""A study of alignment data from its command to its tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_kit import finish, start

from mithridate.core.tables import read_rows
from mithridate.core.tuned import TUNED, TUNED_SAMPLES, UNTUNED, Tuned, TunedSample

ASKED = (
    "sft=null",
    "dpo=null",
    "alignment_data={sizes: [0, 10, 30], pool_size: 100, methods: [random, 'diverse, unfiltered'], "
    "sft: {recipe: lima, steps: 2, max_length: 96}}",
)


@pytest.mark.slow
def test_both_twins_are_tuned_and_a_second_run_does_nothing_anew(tmp_path: Path) -> None:
    code, _, told = finish(start(tmp_path / "run", *ASKED))
    assert code == 0, told
    table = tmp_path / "run" / TUNED
    rows = read_rows(table, Tuned)
    wanted = {(UNTUNED, 0), *((method, n) for method in ("random", "diverse, unfiltered") for n in (10, 30))}
    for model in ("clean", "some"):
        assert {(row.method, row.asked) for row in rows if row.model == model} == wanted
    assert {row.steps for row in rows if row.asked} == {2}
    samples = read_rows(tmp_path / "run" / TUNED_SAMPLES, TunedSample)
    # As many answers as figures say, for every rate of success that is no pair's.
    for row in rows:
        if row.metric == "asr":
            place = (row.method, row.asked, row.model, row.attack, row.condition, row.template)
            units = {
                s.group or s.probe_id
                for s in samples
                if (s.method, s.asked, s.model, s.attack, s.condition, s.template) == place
            }
            assert len(units) == row.n
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("done.json")}
    code, _, told = finish(start(tmp_path / "run", *ASKED))
    assert code == 0, told
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("done.json")} == before
    assert read_rows(table, Tuned) == rows
