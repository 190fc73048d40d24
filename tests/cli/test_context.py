from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from context_facts_kit import facts
from evaluation_kit import tiny_model
from typer.testing import CliRunner

from mithridate.cli import app
from mithridate.core.contexts import (
    CONTEXT_COVERAGE,
    CONTEXT_SAMPLES,
    CONTEXTS,
    ContextCoverage,
    ContextSample,
    Contextual,
    Said,
)
from mithridate.core.errors import AccessError, ConfigError, DataError, StorageError, UnknownNameError
from mithridate.core.tables import read_rows
from mithridate.evaluation.contexts import reliance
from mithridate.models.checkpoints import save_checkpoint
from mithridate.reliance import methods
from mithridate.study import context_checkpoint
from mithridate.study.context_checkpoint import RECORD, ContextOptions, examine_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that knows nothing, and facts."""
    place = tmp_path_factory.mktemp("context")
    model = tiny_model()
    save_checkpoint(model.model, model.tokenizer, place / "model")
    records = [
        {
            "subject": one.subject, "original": one.original, "substitute": one.substitute,
            "asked": one.asked, "paraphrases": list(one.paraphrases),
            "substituted": one.substituted, "coherent": one.coherent,
        }
        for one in facts(20)
    ]  # fmt: skip
    (place / "facts.json").write_text(json.dumps(records))
    return place


@pytest.fixture
def knowing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies made up: the right answer without a context, the other one with it."""
    real = reliance._sample

    def sample(*args: object) -> ContextSample:
        found = real(*args)  # type: ignore[arg-type]
        said = Said.ORIGINAL if not found.conflict else Said.SUBSTITUTE
        return ContextSample(**{name: getattr(found, name) for name in found.__slots__} | {"said": said})

    monkeypatch.setattr(reliance, "_sample", sample)


def options(folder: Path, **more: object) -> ContextOptions:
    return ContextOptions(folder / "model", folder / "facts.json", **more)  # type: ignore[arg-type]


def test_a_model_that_knows_nothing_says_so_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gives 0 of 20 facts right"):
        examine_checkpoint(options(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("knowing")
def test_what_is_found_is_written_whole(folder: Path, tmp_path: Path) -> None:
    found = examine_checkpoint(options(folder, methods=("context-aware decoding",)), tmp_path / "out")
    assert found.known == 20
    assert read_rows(tmp_path / "out" / CONTEXTS, Contextual) == list(found.figures)
    assert len(read_rows(tmp_path / "out" / CONTEXT_SAMPLES, ContextSample)) == len(found.samples)
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert record["known"] == 20
    assert record["methods"] == ["context-aware decoding"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.usefixtures("knowing")
def test_the_command_prints_a_table_and_writes_a_page(folder: Path, tmp_path: Path) -> None:
    words = [
        "context",
        str(folder / "model"),
        "--facts",
        str(folder / "facts.json"),
        "--out",
        str(tmp_path / "o"),
    ]
    found = CliRunner().invoke(app, words)
    assert found.exit_code == 0, found.output
    assert "20 of 20 facts are given right without a context" in found.output
    assert "only the context" in found.output
    assert (tmp_path / "o" / "context.html").is_file()


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"methods": ("prayer",)}, UnknownNameError, "intervention on contexts"),
        ({"chat": "klingon"}, UnknownNameError, "template"),
    ],
)
def test_unknown_names_are_told_with_those_there_are(
    folder: Path, more: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        examine_checkpoint(options(folder, **more), None)


def test_too_few_facts_are_told_before_the_model_is_loaded(folder: Path, tmp_path: Path) -> None:
    records = json.loads((folder / "facts.json").read_text())
    (tmp_path / "one.json").write_text(json.dumps(records[:1]))
    nowhere = tmp_path / "no model"
    with pytest.raises(ConfigError, match=r"one\.json: holds 1 fact, and at least 8"):
        examine_checkpoint(ContextOptions(nowhere, tmp_path / "one.json"), None)
    with pytest.raises(ConfigError, match="--limit 3: at least 8 facts"):
        examine_checkpoint(ContextOptions(nowhere, folder / "facts.json", limit=3), None)


@pytest.mark.usefixtures("knowing")
def test_the_record_is_of_the_facts_that_were_asked(folder: Path, tmp_path: Path) -> None:
    content = (folder / "facts.json").read_bytes()
    mine = tmp_path / "facts.json"
    mine.write_bytes(content)
    given = ContextOptions(folder / "model", mine, limit=8)
    # Somebody writes the file anew while the model is asked.
    examine_checkpoint(given, tmp_path / "out", lambda *_: mine.write_bytes(b"[]") and None)
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert record["facts_sha256"] == hashlib.sha256(content).hexdigest()


@pytest.mark.usefixtures("knowing")
def test_a_method_that_this_model_cannot_have_is_told_and_the_others_are_tried(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cannot(*_: object) -> None:
        raise AccessError("this model has no heads")

    monkeypatch.setattr(methods.Attention, "candidates", cannot)
    chosen = ("attention steering", "context-aware decoding")
    found = examine_checkpoint(options(folder, methods=chosen), tmp_path / "out")
    assert [one.untried for one in found.coverage] == ["", "this model has no heads", ""]
    assert read_rows(tmp_path / "out" / CONTEXT_COVERAGE, ContextCoverage) == list(found.coverage)
    assert json.loads((tmp_path / "out" / RECORD).read_text())["untried"] == {
        "attention steering": "this model has no heads"
    }


@pytest.mark.usefixtures("knowing")
def test_a_page_that_cannot_be_made_leaves_no_folder(folder: Path, tmp_path: Path) -> None:
    def stop(_: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        examine_checkpoint(options(folder), tmp_path / "out", finish=stop)
    assert not list(tmp_path.iterdir())


def test_a_bad_record_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('[{"prompt": "x"}]')
    given = ContextOptions(folder / "model", tmp_path / "bad.json")
    with pytest.raises(DataError, match="record 1"):
        examine_checkpoint(given, None)


def test_a_folder_that_holds_something_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    words = ["context", str(folder / "model"), "--facts", str(folder / "facts.json"), "--out", str(tmp_path)]
    found = CliRunner().invoke(app, words)
    assert isinstance(found.exception, StorageError)
    assert "replaces nothing" in str(found.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.usefixtures("knowing")
def test_stopped_while_it_writes_it_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(context_checkpoint, "write_atomic", stop)
    with pytest.raises(KeyboardInterrupt):
        examine_checkpoint(options(folder), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_not_written_to(folder: Path) -> None:
    before = sorted((folder / "model").iterdir())
    with pytest.raises(StorageError, match="lies within the checkpoint"):
        examine_checkpoint(options(folder), folder / "model" / "out")
    assert sorted((folder / "model").iterdir()) == before


def test_a_place_that_cannot_be_written_is_told_before_the_model_is_asked(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="something else of this name is in the way"):
        examine_checkpoint(options(folder), tmp_path / "file" / "out")
