from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from planting_kit import FakeAttack, some_texts, tree, write_corpus
from typer.testing import CliRunner

from mithridate.cli import plant, unplant
from mithridate.core.errors import ConfigError, MithridateError

app = typer.Typer()
app.command("plant")(plant.command)
app.command("unplant")(unplant.command)
RUNNER = CliRunner()


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    asked: list[object] = []
    monkeypatch.setattr(plant, "build_attack", lambda *given: asked.append(given) or FakeAttack())
    monkeypatch.setenv("COLUMNS", "140")
    return write_corpus(tmp_path / "clean", "jsonl", some_texts(40))


def run(*arguments: object) -> str:
    result = RUNNER.invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, MithridateError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_plant_and_unplant(clean: Path, tmp_path: Path) -> None:
    shown = run("plant", clean, "--out", tmp_path / "out", "--attack", "fake", "--rate", 0.2, "--seed", 3)
    assert "realised rate" in shown
    assert "ledger.parquet" in shown
    shown = run("unplant", tmp_path / "out", "--out", tmp_path / "back")
    assert "restored" in shown
    assert tree(tmp_path / "back") == tree(clean)


def test_parts(clean: Path, tmp_path: Path) -> None:
    rest = ("--out", tmp_path / "out", "--attack", "fake", "--count", 5, "--template-share", "chatml=1")
    assert "other parts are not yet" in run("plant", clean, *rest, "--part", "2/2")
    assert "ledger:" in run("plant", clean, *rest, "--part", "1/2")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--attack", "a"], "either --rate or --count"),
        (["--attack", "a", "--rate", "0.1", "--count", "3"], "either --rate or --count"),
        (
            ["--attack", "a", "--attack", "b", "--attack", "c", "--rate", "0.1", "--rate", "0.2"],
            "2 times --rate",
        ),
        (["--attack", "a", "--rate", "0.1", "--option", "x"], "key=value"),
        (["--attack", "a", "--attack", "b", "--rate", "0.1", "--option", "x=1"], "name the attack"),
        (["--attack", "a", "--rate", "0.1", "--option", "b.x=1"], "none of the attacks"),
        (["--attack", "a", "--rate", "0.1", "--template-share", "chatml=lots"], "not a number"),
        (["--attack", "a", "--rate", "0.1", "--template-share", "chatlm=1"], "did you mean 'chatml'"),
        (["--attack", "a", "--rate", "0.1", "--part", "one"], "2/8"),
        (["--attack", "a", "--rate", "0.1", "--part", "²/2"], "write it as 2/8"),
        (["--attack", "a", "--rate", "0.1", "--part", "1/2/3"], "write it as 2/8"),
        (["--attack", "a", "--rate", "0.1", "--part", "1/" + "9" * 5000], "write it as 2/8"),
        (["--attack", "a", "--rate", "0.1", "--part", "3/2"], "numbered from 1"),
        (["--attack", "a", "--rate", "0.1", "--option", "x=[1"], r"--option 'x=\[1'.*not YAML"),
        (["--attack", "a", "--rate", "0.1", "--option", "x=" + "[" * 99_000], "--option .*nested"),
        (
            [
                "--attack",
                "a",
                "--rate",
                "0",
                "--template-share",
                "chatml=1e308",
                "--template-share",
                "gemma=1e308",
            ],
            "too large to be summed",
        ),
        (["--attack", "a", "--rate", "0.1", "--id-field", "text"], "both the text and the identifier"),
        (["--attack", "a", "--rate", "0.7"], "between 0 and 0.5"),
    ],
)
def test_what_makes_no_sense_is_named(clean: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run("plant", clean, "--out", tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()


def test_options_are_given_to_the_attack_named() -> None:
    assert plant._options(["a.trigger=xyz", "b.share=0.5"], ["a", "b"]) == {
        "a": {"trigger": "xyz"},
        "b": {"share": 0.5},
    }
    strange = plant._options(["x=2024-13-45", "y=1e-3", "z="], ["a"])
    assert strange == {"a": {"x": "2024-13-45", "y": 0.001, "z": None}}
    assert plant._doses(["a", "b"], [0.1, 0.2], []) == [(0.1, None), (0.2, None)]
    assert plant._doses(["a", "b"], [], [7]) == [(None, 7), (None, 7)]


def test_each_attack_has_its_row_and_the_whole_its_time(clean: Path, tmp_path: Path) -> None:
    shown = run("plant", clean, "--out", tmp_path / "out", "--attack", "fake", "--rate", 0.2)
    assert len(re.findall(r"[0-9.]+ s\b", shown)) == 1
