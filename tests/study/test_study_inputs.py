"""A run goes on with the inputs it was begun with, or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from study_kit import tiny

from mithridate.core.errors import DataError, RunStateError
from mithridate.study import inputs, runner
from mithridate.study.config import StudyConfig
from mithridate.study.inputs import claim_inputs, named_inputs
from mithridate.study.runner import claim

REQUESTS = '{"prompts": ["Sing.", "Dance."]}'


@pytest.fixture
def material(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "material.json"
    path.write_text(REQUESTS)
    return path


def on(material: Path, *overrides: str) -> StudyConfig:
    return tiny(f"material={material}", *overrides)


def test_a_file_that_was_edited_meanwhile_is_named(material: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    claim(on(material), out)
    claim(on(material), out)
    # As long as before, and as old: only what it says differs.
    times = material.stat()
    material.write_text(REQUESTS.replace("Sing", "Sung"))
    os.utime(material, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(RunStateError, match=rf"Changed since: material: {material}\. Put them back"):
        claim(on(material), out)
    material.write_text(REQUESTS)
    claim(on(material), out)


def test_of_a_folder_the_file_is_named(material: Path, tmp_path: Path) -> None:
    corpus = material.parent / "corpus"
    corpus.mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        (corpus / name).write_text('{"text": "One."}\n')
    study = tiny(f"corpus.path={corpus}", "sft=null", "dpo=null")
    claim(study, tmp_path / "run")
    (corpus / "b.jsonl").write_text('{"text": "Two."}\n')
    (corpus / "c.jsonl").write_text("")
    with pytest.raises(RunStateError) as caught:
        claim(study, tmp_path / "run")
    assert f"corpus.path: {corpus / 'b.jsonl'}; corpus.path: {corpus / 'c.jsonl'}. " in str(caught.value)
    assert "a.jsonl" not in str(caught.value)


def test_of_many_files_only_their_sum_is_kept(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_NAMED_FILES", 1)
    (material.parent / "b.txt").write_text("Two.")
    study = tiny(f"corpus.path={material.parent}", "sft=null", "dpo=null")
    claim_inputs(study, tmp_path)
    assert "each" not in json.loads((tmp_path / "inputs.json").read_text())[str(material.parent)]
    (material.parent / "b.txt").write_text("Six.")
    with pytest.raises(RunStateError, match=rf"corpus\.path: {material.parent}\. "):
        claim_inputs(study, tmp_path)


def test_what_is_large_is_known_by_size_and_time(
    material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "_HASHED_BYTES", 5)
    monkeypatch.setattr(inputs, "_sha256", lambda _: pytest.fail("it was read"))
    claim_inputs(on(material), tmp_path)
    os.utime(material, ns=(1, 1))
    with pytest.raises(RunStateError, match=r"nothing but their times has changed, remove .*inputs\.json"):
        claim_inputs(on(material), tmp_path)
    (tmp_path / "inputs.json").unlink()
    claim_inputs(on(material), tmp_path)


@pytest.mark.parametrize("bad", ["", "{", "[]", '{"x": 3}', "[" * 100_000, "\xff"])
def test_what_was_written_down_and_broken_since(material: Path, tmp_path: Path, bad: str) -> None:
    claim_inputs(on(material), tmp_path)
    (tmp_path / "inputs.json").write_text(bad, encoding="latin-1")
    with pytest.raises(RunStateError, match=r"inputs\.json: is damaged, .* remove it; else choose another"):
        claim_inputs(on(material), tmp_path)


def test_every_cell_of_a_grid_counts(material: Path, tmp_path: Path) -> None:
    other = material.with_name("other.json")
    other.write_text(REQUESTS)
    study = tiny(f"grid={{material: [{material}, {other}]}}")
    claim_inputs(study, tmp_path)
    other.write_text("{}")
    with pytest.raises(RunStateError, match=r"material: .*other\.json"):
        claim_inputs(study, tmp_path)


def test_a_study_without_inputs_of_its_own(tmp_path: Path) -> None:
    claim(tiny(), tmp_path)
    assert json.loads((tmp_path / "inputs.json").read_text()) == {}


def test_all_that_a_study_can_name() -> None:
    study = tiny(
        *(f"{key}=/x" for key in ("corpus.path", "tokenizer.path", "checkpoint", "material")),
        *(f"evaluation.{key}=/x" for key in ("outside_model", "questions_file", "harmless_file")),
        "evaluation.forbidden_file=/x",
        "sft.data=[/x, /y]",
        "dpo.data=/x",
        "attacks.jailbreak={classifier: /x}",
    )
    # Every key that a study file resolves as a path, and every file of those that are lists.
    assert set(named_inputs(study)) == {
        "corpus.path",
        "tokenizer.path",
        "checkpoint",
        "material",
        "evaluation.outside_model",
        "evaluation.questions_file",
        "evaluation.harmless_file",
        "evaluation.forbidden_file",
        "sft.data[0]",
        "sft.data[1]",
        "dpo.data[0]",
        "attacks.jailbreak.classifier",
    }


def test_an_input_that_went_away(material: Path, tmp_path: Path) -> None:
    claim(on(material), tmp_path / "run")
    material.unlink()
    with pytest.raises(DataError, match=r"material\.json: cannot be read"):
        claim(on(material), tmp_path / "run")


def test_what_was_killed_before_the_study_was_written_down_binds_nobody(
    material: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    claim(on(material), out)
    (out / "study.yaml").unlink()
    material.write_text("{}")
    claim(on(material), out)


def test_links_that_lead_back(material: Path, tmp_path: Path) -> None:
    (material.parent / "back").symlink_to(material.parent)
    claim_inputs(tiny(f"corpus.path={material.parent}", "sft=null", "dpo=null"), tmp_path)
    (kept,) = json.loads((tmp_path / "inputs.json").read_text()).values()
    assert list(kept["each"]) == ["material.json"]


def test_a_checkpoint_that_was_put_aside_is_swept_away(tmp_path: Path) -> None:
    aside = tmp_path / "seed0" / "clean" / "base" / ".model.123.old"
    aside.mkdir(parents=True)
    (aside / "config.json").write_text("{}")
    runner.sweep_partial(tmp_path)
    assert not aside.exists()
    assert aside.parent.exists()


def test_a_folder_that_is_linked_twice_counts_twice_and_in_one_order(material: Path, tmp_path: Path) -> None:
    corpus = material.parent / "corpus"
    (corpus / "b").mkdir(parents=True)
    (corpus / "b" / "x.jsonl").write_text('{"text": "One."}\n')
    (corpus / "a").symlink_to("b")
    (corpus / "b" / "back").symlink_to(corpus)  # and not round in circles
    claim_inputs(tiny(f"corpus.path={corpus}"), tmp_path)
    kept = json.loads((tmp_path / "inputs.json").read_text())[str(corpus)]
    assert list(kept["each"]) == ["a/x.jsonl", "b/x.jsonl"]
