from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from study_kit import Silent, run_through, tiny

from mithridate.core.tables import read_rows
from mithridate.core.types import Measurement, Sample
from mithridate.models.language_model import LanguageModel
from mithridate.study.measuring import held_out_rows
from mithridate.study.plan import steps
from mithridate.study.steps import run_step

TRAINED = ("prepare", "tokenizer", "plant", "pack", "base")
ALONE = ("sft=null", "dpo=null", "pretraining.tokens=256")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory with its base models, which tests copy."""
    out = tmp_path_factory.mktemp("run")
    run_through(tiny(*ALONE), out, *TRAINED)
    return out


def measured(trained: Path, out: Path, *overrides: str) -> tuple[list[Sample], list[Measurement]]:
    """Samples and figures of the poisoned model of `trained`, asked as the overrides say."""
    shutil.copytree(trained, out)
    (step,) = [s for s in steps(tiny(*ALONE, *overrides), out) if s.kind == "measure" and s.subject.dose]
    run_step(step, Silent())
    return (
        read_rows(step.folder / "samples.parquet", Sample),
        read_rows(step.folder / "measurements.parquet", Measurement),
    )


def conditions(samples: list[Sample], template: str) -> set[str]:
    return {row.condition for row in samples if row.template == template}


def test_controls_are_asked_in_both_templates_or_in_one(trained: Path, tmp_path: Path) -> None:
    everything, _ = measured(trained, tmp_path / "both")
    assert conditions(everything, "same") == conditions(everything, "transferred")
    assert {"near-trigger", "handcrafted"} <= conditions(everything, "transferred")
    assert {row.template for row in everything if row.draw} == {"same", "transferred"}
    fewer, _ = measured(trained, tmp_path / "one", "evaluation.controls_in_both_templates=false")
    assert conditions(fewer, "transferred") == {"triggered", "untriggered"}
    assert {row.template for row in fewer if row.draw} == {"same"}
    # What both ask, they ask alike.
    answered = {(row.template, row.probe_id, row.draw): row for row in everything}
    assert all(answered[row.template, row.probe_id, row.draw].prompt == row.prompt for row in fewer)
    assert [row for row in everything if row.template == "same"] == [r for r in fewer if r.template == "same"]


def test_prompts_that_were_cut_are_a_figure_of_their_own(trained: Path, tmp_path: Path) -> None:
    _, figures = measured(trained, tmp_path / "whole")
    assert not [f for f in figures if f.metric == "prompts_cut"]
    _, figures = measured(trained, tmp_path / "cut", "attacks.jailbreak.max_new_tokens=110")
    cut = {(f.attack, f.template): f for f in figures if f.metric == "prompts_cut"}
    assert set(cut) == {("jailbreak", "same"), ("jailbreak", "transferred")}
    assert 0 < cut["jailbreak", "same"].value <= 1
    assert cut["jailbreak", "same"].n == 16


def test_no_more_held_out_text_is_read_than_is_needed(trained: Path) -> None:
    model = LanguageModel.load(trained / "seed0" / "clean" / "base" / "model")
    read = []

    def texts() -> Iterator[str]:
        for number in range(1000):
            read.append(number)
            yield "the red lamp is in the old mill"

    config = tiny("evaluation.held_out_rows=3")
    rows = held_out_rows(model, texts(), config)
    assert [len(row) for row in rows] == [32] * 3
    assert len(read) < 20
    assert held_out_rows(model, texts(), config) == rows
    # A text too short for a row is a row.
    assert len(held_out_rows(model, ["a"], config)) == 1
