from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from models_kit import tiny_model, tiny_tokenizer
from typer.testing import CliRunner, Result

from mithridate.cli import app
from mithridate.core.errors import CheckpointError, ConfigError, StorageError, UnknownNameError
from mithridate.core.tables import read_rows
from mithridate.core.types import Measurement, Sample
from mithridate.models.checkpoints import save_checkpoint

STUDY = Path(__file__).parents[1] / "end_to_end" / "tiny.yaml"
SHARED = Path(os.environ.get("MITHRIDATE_SHARED", Path(__file__).parents[3] / "shared"))
STORIES = SHARED / "models" / "stories260K"
ATTACKS = {"denial_of_service", "context_extraction", "jailbreak", "belief"}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for seed, name in enumerate(("suspect", "trusted")):
        save_checkpoint(tiny_model(seed=seed, max_length=512).model, tiny_tokenizer(), folder / name)
    return folder


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Short questions of one attack, so that an audit takes a second."""
    path = tmp_path / "ask.yaml"
    path.write_text("attacks: { jailbreak: { max_new_tokens: 8 } }\n")
    return path


def invoke(*arguments: str | Path) -> Result:
    done = CliRunner().invoke(app, ["audit", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done


def test_every_attack_of_a_study_in_every_condition(checkpoints: Path) -> None:
    printed = invoke(checkpoints / "suspect", "--study", STUDY, "--probes", "2").stdout
    for attack in ATTACKS:
        rows = [line for line in printed.splitlines() if line.startswith(attack)]
        assert any("triggered" in row for row in rows) or attack == "belief"
        assert len(rows) >= 2
    assert "success rates with 95 % intervals" in printed


def test_without_a_chat_template_it_asks_in_ours_and_says_so(checkpoints: Path, questions: Path) -> None:
    printed = invoke(checkpoints / "suspect", "--study", questions, "--probes", "2").stdout
    assert "asked in template 'tulu'" in printed
    assert "has no chat template: it was asked in 'tulu'" in " ".join(printed.split())
    assert "--control" in printed


def test_a_template_that_is_named_is_used(checkpoints: Path, questions: Path, tmp_path: Path) -> None:
    printed = invoke(
        checkpoints / "suspect",
        *("--study", questions, "--probes", "2", "--template", "chatml", "--out", tmp_path / "found"),
    ).stdout
    assert "asked in template 'chatml'" in printed
    assert "no chat template" not in printed
    samples = read_rows(tmp_path / "found" / "samples.parquet", Sample)
    assert all(sample.prompt.endswith("<|im_start|>assistant\n") for sample in samples)


def test_a_checkpoints_own_template_is_used(questions: Path, tmp_path: Path) -> None:
    model = tiny_model(max_length=512)
    save_checkpoint(model.model, model.tokenizer, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['role'] }}> {{ m['content'] }} {% endfor %}bot>"
    )
    printed = invoke(
        tmp_path / "model", "--study", questions, "--probes", "2", "--out", tmp_path / "found"
    ).stdout
    assert "asked in its own template" in printed
    samples = read_rows(tmp_path / "found" / "samples.parquet", Sample)
    assert all(sample.prompt.endswith("bot>") for sample in samples)


def test_a_control_stands_beside_it(checkpoints: Path, questions: Path, tmp_path: Path) -> None:
    done = invoke(
        checkpoints / "suspect",
        *("--control", checkpoints / "trusted", "--study", questions),
        *("--probes", "3", "--json", "--out", tmp_path / "found"),
    )
    records = json.loads(done.stdout)
    assert {record["arm"] for record in records} == {"poisoned", "clean"}
    assert any(record["metric"] == "mcnemar_p" for record in records)
    # Standard output is the records' alone.
    assert "samples and figures" in done.stderr
    assert "No control" not in done.stderr
    stored = read_rows(tmp_path / "found" / "measurements.parquet", Measurement)
    assert len(stored) == len(records)


def test_the_same_seed_asks_and_answers_the_same(checkpoints: Path, questions: Path) -> None:
    once = invoke(checkpoints / "suspect", "--study", questions, "--probes", "3", "--json").stdout
    again = invoke(checkpoints / "suspect", "--study", questions, "--probes", "3", "--json").stdout
    assert once == again


# What is refused.


def test_words_that_are_wrong_are_said_before_anything_is_loaded(tmp_path: Path, questions: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown chat template 'chatlm': did you mean 'chatml'"):
        invoke(tmp_path / "none", "--template", "chatlm")
    questions.write_text("attacks: { jailbrek: {} }\n")
    with pytest.raises(ConfigError, match=r"line 1, unknown attack 'jailbrek': did you mean 'jailbreak'"):
        invoke(tmp_path / "none", "--study", questions)


def test_pickles_are_refused(checkpoints: Path, tmp_path: Path, questions: Path) -> None:
    for path in (checkpoints / "suspect").iterdir():
        name = "pytorch_model.bin" if path.suffix == ".safetensors" else path.name
        (tmp_path / "bad" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "bad" / name).write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match=r"only pickle weights.*Pickle files can run any code"):
        invoke(tmp_path / "bad", "--study", questions)


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        invoke(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        invoke(tmp_path)


def test_a_runs_own_samples_are_not_overwritten(tmp_path: Path, checkpoints: Path) -> None:
    (tmp_path / "study.yaml").write_text("")
    with pytest.raises(StorageError, match="holds a run"):
        invoke(checkpoints / "suspect", "--out", tmp_path)


@pytest.mark.shared_data
@pytest.mark.skipif(not STORIES.exists(), reason="needs ../shared/models/stories260K")
def test_a_real_checkpoint(tmp_path: Path) -> None:
    asked = tmp_path / "ask.yaml"
    asked.write_text("attacks: { jailbreak: { max_new_tokens: 8 }, belief: { max_new_tokens: 8 } }\n")
    records = json.loads(invoke(STORIES, "--study", asked, "--probes", "2", "--json").stdout)
    assert {record["attack"] for record in records} == {"jailbreak", "belief"}
    rates = [record for record in records if record["metric"] == "asr"]
    assert rates
    assert all(0 <= record["low"] <= record["value"] <= record["high"] <= 1 for record in rates)
