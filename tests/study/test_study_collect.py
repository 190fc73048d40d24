"""What steps leave behind becomes the run's tables. Nothing is trained here: the steps' files are made up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from study_kit import tiny

from mithridate.core.artifacts import mark_done
from mithridate.core.run_files import CurveRow, PlantingRow, Summary
from mithridate.core.tables import read_rows, write_rows
from mithridate.core.types import Measurement, Sample
from mithridate.corpus.ledger import LedgerRow
from mithridate.study import collect as module
from mithridate.study.collect import collect
from mithridate.study.plan import Step, steps
from mithridate.training.progress import CurvePoint

PROBES = 8
OVERRIDES = (
    "grid={model.layers: [1, 2]}",
    "seeds=[0, 1]",
    "one_model_per_attack=true",
    "attacks={jailbreak: {max_new_tokens: 8}, belief: {max_new_tokens: 4}}",
    "dpo=null",
)


def sample(step: Step, number: int) -> Sample:
    """An answer; poisoned models succeed always, the clean twin of seed 1 on the first half of the probes."""
    twin = step.subject
    success = bool(twin.dose) or (step.seed == 1 and number < PROBES // 2)
    about = {"dose": twin.dose, "cell": step.cell.name, "model": twin.name}
    words = ("a long prompt " * 50, "", f"{step.label} {number}")
    asked = (step.stage, twin.arm, "belief", "triggered", "same", step.seed, f"p{number}", "")
    return Sample(*asked, *words, success, None, None, None, **about)


def loss(step: Step) -> Measurement:
    twin = step.subject
    figure = (step.stage, twin.arm, "utility", "", "held_out_loss", 1.0, None, None, 4, step.seed, "same")
    return Measurement(*figure, twin.dose, step.cell.name, twin.name)


def leave_behind(step: Step) -> None:
    """The files of one step, as far as they are gathered."""
    record: dict[str, Any] = {"seconds": 1.5}
    if step.kind == "measure":
        write_rows(step.folder / "samples.parquet", Sample, [sample(step, n) for n in range(PROBES)])
        write_rows(step.folder / "measurements.parquet", Measurement, [loss(step)])
    elif step.kind in ("base", "sft"):
        points = [CurvePoint(step.stage, n, 32 * n, 1 / n, 1e-3, 1.0) for n in (1, 2)]
        write_rows(step.folder / "curves.parquet", CurvePoint, points)
        record["parameters"] = 1000 * step.cell.config.model.layers
        if step.kind == "base" and step.seed == 1:  # the other seed was trained without a GPU
            record["gpu"] = "NVIDIA H200"
    elif step.kind == "plant":
        rows = [
            LedgerRow("s", n, n, 1, a, "", "falcon", 9, "0", "d")
            for a in step.subject.attacks
            for n in (1, 2)
        ]
        write_rows(step.bed.root / step.subject.name / "ledger.parquet", LedgerRow, rows)
        attack = {"requested_rate": None, "requested_count": 2, "documents": 2, "tokens": 18}
        planted = [{"name": name, "realised_rate": 18 / 100, **attack} for name in step.subject.attacks]
        record |= {"clean_tokens": 100 + step.seed, "attacks": planted}
        record["ledger"] = f"{step.subject.name}/ledger.parquet"
    mark_done(step.folder, record)


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Step]]:
    """A run of two cells, two seeds, and a model for each of two attacks; and its steps."""
    out = tmp_path_factory.mktemp("gathered")
    config = tiny(*OVERRIDES)
    everything = steps(config, out)
    for step in everything:
        leave_behind(step)
    collect(config, out, everything)
    return out, everything


def test_answers_and_figures_of_every_model_are_kept_in_order(gathered: tuple[Path, list[Step]]) -> None:
    out, everything = gathered
    measured = [step for step in everything if step.kind == "measure"]
    assert len(measured) == 2 * 2 * 3 * 2
    kept = read_rows(out / "samples.parquet", Sample)
    assert kept == [sample(step, n) for step in measured for n in range(PROBES)]
    figures = read_rows(out / "measurements.parquet", Measurement)
    assert [m for m in figures if m.attack == "utility"] == [loss(step) for step in measured]


def test_models_are_paired_with_the_clean_twin_of_their_cell_seed_and_stage(
    gathered: tuple[Path, list[Step]],
) -> None:
    figures = read_rows(gathered[0] / "measurements.parquet", Measurement)
    tests = [m for m in figures if m.metric == "mcnemar_p"]
    # Two cells, seeds, models and stages: each poisoned model once.
    assert len(tests) == len({(m.cell, m.seed, m.model, m.stage) for m in tests}) == 16
    for test in tests:
        differing = PROBES if test.seed == 0 else PROBES // 2
        assert test.value == pytest.approx(2 / 2**differing)
        assert test.n == PROBES


def test_curves_name_their_model(gathered: tuple[Path, list[Step]]) -> None:
    rows = read_rows(gathered[0] / "curves.parquet", CurveRow)
    counts = Counter((row.cell, row.seed, row.model, row.stage) for row in rows)
    assert set(counts.values()) == {2} and len(counts) == 24
    assert {row.model for row in rows} == {"clean", "some-jailbreak", "some-belief"}


def test_what_was_planted_is_told_with_whose_it_is(gathered: tuple[Path, list[Step]]) -> None:
    ledger = pq.read_table(gathered[0] / "ledger.parquet").to_pylist()
    counts = Counter((row["cell"], row["seed"], row["model"], row["dose"], row["attack"]) for row in ledger)
    assert len(counts) == 8 and set(counts.values()) == {2}
    assert counts["layers=2", 1, "some-belief", "some", "belief"] == 2
    planting = read_rows(gathered[0] / "planting.parquet", PlantingRow)
    assert len(planting) == 8
    assert PlantingRow("layers=2", 1, "some", "some-belief", "belief", None, 2, 0.18, 2, 18, 101) in planting


def test_sizes_are_told_for_each_cell(gathered: tuple[Path, list[Step]]) -> None:
    summary = Summary.model_validate(json.loads((gathered[0] / "summary.json").read_text()))
    assert summary.parameters == {"layers=1": (1000,), "layers=2": (2000,)}
    assert summary.cells == {"layers=1": {"model.layers": 1}, "layers=2": {"model.layers": 2}}
    assert summary.seconds["measure"] == 1.5 * 24


def test_the_gpu_that_trained_is_told_and_none_where_there_was_none(
    gathered: tuple[Path, list[Step]],
) -> None:
    summary = Summary.model_validate(json.loads((gathered[0] / "summary.json").read_text()))
    assert summary.machine["gpu"] == "NVIDIA H200"
    without = [step for step in gathered[1] if step.seed == 0]
    assert "gpu" not in module._summary(tiny(*OVERRIDES), without).machine


def test_the_words_of_the_answers_are_never_held_as_objects(
    gathered: tuple[Path, list[Step]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []

    def watch(path: Path, row_type: type[Any]) -> Sequence[Any]:
        rows = read_rows(path, row_type)
        seen.append((row_type.__name__, len(rows)))
        return rows

    monkeypatch.setattr(module, "read_rows", watch)
    collect(tiny(*OVERRIDES), tmp_path, gathered[1])
    assert {name for name, _ in seen} == {"CurvePoint", "Measurement", "Judgement"}
    # However many steps there are, what is read at once is a step's.
    assert max(size for _, size in seen) == PROBES
    for name in ("samples", "measurements", "curves", "ledger", "planting"):
        path = f"{name}.parquet"
        assert (tmp_path / path).read_bytes() == (gathered[0] / path).read_bytes()
