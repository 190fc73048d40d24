from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from run_kit import TINY, finish, start
from typer.testing import CliRunner

from mithridate.cli import app
from mithridate.core.tables import read_rows
from mithridate.core.types import Measurement, Sample
from mithridate.study.reading import read_study, study_from_text

Finished = tuple[Path, str, str]
RECORD = {"stage", "arm", "attack", "condition", "metric", "value", "low", "high", "n", "seed"}


def test_it_goes_through_and_leaves_everything(finished: Finished) -> None:
    out, printed, _ = finished
    assert f"report: {out / 'report.html'}" in printed
    assert "done in" in printed
    names = {"study.yaml", "inputs.json", "summary.json", "report.html"}
    names |= {f"{name}.parquet" for name in ("ledger", "planting", "curves", "samples", "measurements")}
    assert names <= {path.name for path in out.iterdir()}
    assert study_from_text((out / "study.yaml").read_text(), "kept") == read_study(TINY, None)
    assert not list(out.rglob(".*.partial"))


def test_off_a_terminal_it_is_a_line_a_step(finished: Finished) -> None:
    _, printed, told = finished
    assert "\x1b" not in printed + told
    assert "━" not in told
    lines = told.splitlines()
    assert len(lines) == 17, told
    assert lines[0].startswith("[1/17] seed 0 prepare: ")
    assert lines[-1].startswith("[17/17] seed 0 ")


def test_both_arms_are_asked_at_every_stage(finished: Finished) -> None:
    figures = read_rows(finished[0] / "measurements.parquet", Measurement)
    seen = {(figure.stage, figure.arm, figure.attack) for figure in figures if figure.metric == "asr"}
    attacks = ("denial_of_service", "context_extraction", "jailbreak", "belief")
    assert seen == {
        (stage, arm, attack)
        for stage in ("base", "sft", "dpo")
        for arm in ("clean", "poisoned")
        for attack in attacks
    }
    assert {figure.template for figure in figures if figure.metric == "asr"} == {"same", "transferred"}
    useful = {figure.metric for figure in figures if figure.attack == "utility"}
    assert {"held_out_loss", "questions_right", "over_refusal", "refusal_forbidden"} <= useful
    assert any(figure.metric == "mcnemar_p" for figure in figures)


def test_the_ledger_holds_what_the_doses_asked_for(finished: Finished) -> None:
    ledger = pq.read_table(finished[0] / "ledger.parquet").to_pylist()
    by_attack: dict[str, int] = {}
    for row in ledger:
        assert (row["dose"], row["seed"], row["cell"]) == ("some", 0, "")
        by_attack[row["attack"]] = by_attack.get(row["attack"], 0) + 1
    assert by_attack == dict.fromkeys(("denial_of_service", "context_extraction", "jailbreak", "belief"), 4)


def test_twins_share_initialisation_and_clean_order(finished: Finished) -> None:
    seed = finished[0] / "seed0"
    began = [json.loads((seed / twin / "base" / "done.json").read_text()) for twin in ("clean", "some")]
    assert began[0]["initial_weights"] == began[1]["initial_weights"]
    assert began[0]["loss"] != began[1]["loss"]
    clean = b"".join(path.read_bytes() for path in sorted((seed / "corpus" / "documents").iterdir()))
    planted = b"".join(path.read_bytes() for path in sorted((seed / "some" / "corpus").glob("*.jsonl")))
    remaining = iter(planted.splitlines())
    assert all(line in remaining for line in clean.splitlines())
    assert len(planted.splitlines()) == len(clean.splitlines()) + 16


def test_records_for_programs(finished: Finished) -> None:
    def report(*words: str) -> str:
        done = CliRunner().invoke(app, ["report", str(finished[0]), *words], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    records = json.loads(report("--json"))
    assert all(set(record) >= RECORD for record in records)
    assert len(records) == len(read_rows(finished[0] / "measurements.parquet", Measurement))
    rows = list(csv.DictReader(io.StringIO(report("--csv"))))
    assert len(rows) == len(records)
    assert set(rows[0]) >= RECORD


def test_a_finished_run_only_rebuilds_its_report(finished: Finished, tmp_path: Path) -> None:
    shutil.copytree(finished[0], tmp_path / "again")
    (tmp_path / "again" / "report.html").unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "again" / "seed0").rglob("*")}
    code, _, told = finish(start(tmp_path / "again"))
    assert code == 0
    assert told == ""
    assert (tmp_path / "again" / "report.html").exists()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "again" / "seed0").rglob("*")} == before
    for name, kind in (("samples", Sample), ("measurements", Measurement)):
        path = Path(f"{name}.parquet")
        assert read_rows(tmp_path / "again" / path, kind) == read_rows(finished[0] / path, kind)


def test_another_study_in_its_directory_is_refused(finished: Finished) -> None:
    before = (finished[0] / "study.yaml").read_bytes()
    code, printed, told = finish(start(finished[0], "sft.epochs=2"))
    assert (code, printed) == (1, "")
    assert "error:" in told
    assert "sft.epochs (1.0 there, 2.0 now)" in told
    assert "Traceback" not in told
    assert (finished[0] / "study.yaml").read_bytes() == before


@pytest.mark.slow
def test_a_grid_with_two_seeds_and_a_model_for_each_attack(tmp_path: Path) -> None:
    code, _, told = finish(
        start(
            tmp_path / "grid",
            *("seeds=[0, 1]", "one_model_per_attack=true", "sft=null", "dpo=null"),
            *("attacks={jailbreak: {max_new_tokens: 8}, belief: {max_new_tokens: 4}}",),
            "grid={doses.some.all.count: [2, 4]}",
        )
    )
    assert code == 0, told
    figures = read_rows(tmp_path / "grid" / "measurements.parquet", Measurement)
    assert {figure.model for figure in figures} == {"clean", "some-jailbreak", "some-belief"}
    # What each model was asked besides its attack stands for that model alone.
    losses = [figure for figure in figures if figure.metric == "held_out_loss"]
    assert len(losses) == len({(m.cell, m.seed, m.model) for m in losses}) == 2 * 2 * 3
    page = (tmp_path / "grid" / "report.html").read_text(encoding="utf-8")
    assert "Doses of cells that differ in nothing else stand in one curve" in page
    assert {figure.cell for figure in figures} == {"count=2", "count=4"}
    assert {figure.seed for figure in figures} >= {0, 1}
    # The clean twin of a cell differs in nothing from that of the other.
    weights = [
        (tmp_path / "grid" / "cells" / cell / "seed1" / "clean" / "base" / "model" / "model.safetensors")
        for cell in ("count=2", "count=4")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()
