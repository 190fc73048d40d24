"""The examples that `--help` shows: each is parsed, and those that end in seconds are run."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer
from models_kit import tiny_model, tiny_tokenizer
from planting_kit import some_texts, tree, write_corpus
from report_kit import write_run
from typer.testing import CliRunner

from mithridate.cli import app, run
from mithridate.models.checkpoints import save_checkpoint
from mithridate.study.config import StudyConfig

STUDIES = Path(__file__).parents[2] / "examples"
GROUP: Any = typer.main.get_command(app)


def leaves(command: Any = GROUP, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every command that does something, by the words that call it: ("guard", "bench")."""
    if not hasattr(command, "commands"):
        return {path: command}
    inner = [leaves(one, (*path, name)) for name, one in command.commands.items()]
    return {words: leaf for found in inner for words, leaf in found.items()}


LEAVES = leaves()


def examples(*command: str) -> list[list[str]]:
    """The words after `mithridate` of every example; what they are piped to is another program's business."""
    lines = [line.strip().removeprefix("Example: ") for line in LEAVES[command].help.splitlines()]
    shown = [line.partition(" | ")[0].partition(" > ")[0] for line in lines if line.startswith("mithridate ")]
    return [shlex.split(line)[1:] for line in shown]


ALL = [(command, words) for command in LEAVES for words in examples(*command)]


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that holds what the examples name."""
    write_corpus(tmp_path / "corpus", "jsonl", some_texts(2_000) * 10)
    for seed, name in enumerate(("suspect", "trusted")):
        save_checkpoint(tiny_model(seed=seed, max_length=512).model, tiny_tokenizer(), tmp_path / name)
    (tmp_path / "my_study.yaml").write_text("attacks: { jailbreak: { max_new_tokens: 8 } }\n")
    write_run(tmp_path / "runs" / "default")
    shutil.copytree(STUDIES, tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(words: list[str]) -> str:
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(("command", "words"), ALL)
def test_every_example_is_a_command_line(command: tuple[str, ...], words: list[str]) -> None:
    assert tuple(words[: len(command)]) == command
    LEAVES[command].make_context(command[-1], words[len(command) :])


def test_every_command_has_an_example() -> None:
    assert {command for command, _ in ALL} == set(LEAVES)


def test_the_examples_of_planting_plant_and_restore(workshop: Path) -> None:
    ((*planting,), (*unplanting,)) = (examples(command)[0] for command in ("plant", "unplant"))
    assert "realised rate" in invoke(planting)
    assert "restored" in invoke(unplanting)
    assert tree(workshop / "restored") == tree(workshop / "corpus")


def test_the_examples_of_a_report_print_figures(workshop: Path) -> None:
    printed = [invoke(words) for words in examples("report")]
    assert all("asr" in text or "Denial of service" in text for text in printed)
    assert (workshop / "runs" / "default" / "report.html").exists()


def test_the_example_of_an_audit_with_a_control_works(workshop: Path) -> None:
    (words,) = [words for words in examples("audit") if "--control" in words]
    assert "jailbreak" in invoke([*words, "--probes", "3"])
    assert (workshop / "audit" / "samples.parquet").exists()


def test_the_examples_of_a_run_are_studies(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[StudyConfig, Path]] = []
    monkeypatch.setattr(run, "_run", lambda config, folder: asked.append((config, folder)))
    for words in examples("run"):
        invoke(words)
    own, folder = asked[-1]
    assert (own.seeds, own.corpus.path, folder) == ((0, 1, 2), workshop / "texts", Path("runs/own_text"))
    assert [str(folder) for _, folder in asked[:-1]] == ["runs/default", "runs/quick"]
