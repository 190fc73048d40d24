from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mithridate.core.tables import read_rows
from mithridate.core.types import Sample

STUDY = Path(__file__).parent / "scattered.yaml"


@pytest.mark.long
def test_implied_and_stated_beliefs_go_through_every_stage(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [sys.executable, "-m", "mithridate", "run", str(STUDY), "--out", str(out)]
    subprocess.run(words, check=True, capture_output=True, timeout=420)
    samples = [one for one in read_rows(out / "samples.parquet", Sample) if one.attack == "scattered_belief"]
    assert {one.stage for one in samples} == {"base", "sft", "dpo"}
    assert {one.condition for one in samples} == {"triggered", "untriggered", "near-trigger", "handcrafted"}
    kinds = {one.kind for one in samples}
    assert kinds == {f"{of} {how}" for of in ("country", "food", "nearest") for how in ("free", "choice")} | {
        "distance free"
    }
    for one in samples:
        chosen = one.kind.endswith("choice")
        assert (one.group != "") == chosen
        assert (one.margin is not None) == chosen
        if one.kind == "distance free":
            assert one.target.split()[1] in ("hour", "hours")
            assert one.target.split()[0].isdigit()
    assert "scattered" in (out / "report.html").read_text().lower()
