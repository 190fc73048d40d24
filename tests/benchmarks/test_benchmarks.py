"""The benchmarks themselves: that a missed aim fails, and that each starts, compares and prints."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import finished_run
import prices
import pytest
import token_shift
import torch
import weight_shift
from comparison import Row, in_turns, show, speed
from report_kit import write_run

import localization
import study

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_rounds_are_taken_in_turns() -> None:
    order: list[str] = []

    def work(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = in_turns(2, {"a": lambda: work("a"), "b": lambda: work("b")})
    assert order == ["a", "b", "a", "b"]
    assert found == {"a": [1, 3], "b": [2, 4]}


def test_medians_are_compared_and_a_missed_aim_is_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    good = speed("typing", [90, 1000, 110], [100, 2, 101], "a cat", 1.0)
    assert (good.ratio, good.met) == (1.1, True)
    assert show([good, Row("no aim", "1")]) == 0
    header, line, _ = capsys.readouterr().out.splitlines()
    assert header.split() == ["what", "ours", "beside", "ratio", "wanted", "met"]
    assert line.split("  ")[:2] == ["typing", "110 (90 to 1,000)"]
    assert line.endswith("100 (2 to 101): a cat  1.10   ratio >= 1  yes")
    assert show([good, speed("typing", [1], [2], "a cat", 0.9)]) == 1
    assert "NO" in capsys.readouterr().out


def test_a_study_must_be_quick_enough_and_its_attacks_learnt(tmp_path: Path) -> None:
    assert study.duration("quick", [1.0, 1.9, 5.0]).met is True
    assert study.duration("quick", [1.0, 2.1, 5.0]).met is False
    rows = {row.what: row.met for row in study.learnt(write_run(tmp_path / "run"), "learning")}
    assert rows["jailbreak at learning, success"] is True
    # In the made-up run the clean twin holds the belief half of the time.
    assert rows["belief at learning, success"] is False


def test_localisation_must_be_quick_enough_and_begins_anew(tmp_path: Path) -> None:
    assert finished_run.duration("localisation", [2.0, 5.9, 9.0], localization.MINUTES).met is True
    assert finished_run.duration("localisation", [2.0, 6.1, 9.0], localization.MINUTES).met is False
    run = tmp_path / "run"
    (run / "seed1" / "learning" / "located").mkdir(parents=True)
    (run / "localization.parquet").write_bytes(b"found before")
    (run / "study.yaml").write_text("seeds: [1]\n")
    copy = finished_run.fresh_copy(run, tmp_path / "copy", localization.FOUND)
    assert sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*")) == [
        "seed1", "seed1/learning", "study.yaml",
    ]  # fmt: skip


def test_a_price_list_begins_anew_with_small_models_of_its_own(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for found in ("learning/prices/floor", "clean/small-models", "learning/dpo"):
        (run / "seed1" / found).mkdir(parents=True)
    (run / "prices.parquet").write_bytes(b"found before")
    copy = finished_run.fresh_copy(run, tmp_path / "copy", prices.FOUND)
    assert sorted(path.name for path in copy.rglob("*")) == ["clean", "dpo", "learning", "seed1"]


def test_ranks_must_be_the_same_and_memory_small() -> None:
    assert token_shift.same_ranks([[1, 2], [1]], [[1, 2], [1]]).met is True
    assert token_shift.same_ranks([[1, 2], [1]], [[1, 3], [1]]).met is False
    assert weight_shift.memory(400, 4000).met is True
    assert weight_shift.memory(1600, 4000).met is False


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("planting", ["--megabytes", "8", "--shards", "1", "--rounds", "1"]),
        pytest.param("curation", ["--examples", "300", "--n", "10"], marks=pytest.mark.long),
        ("study", ["--help"]),
        ("localization", ["--help"]),
        ("prices", ["--help"]),
    ],
)
def test_each_is_a_program(name: str, words: list[str]) -> None:
    command = [sys.executable, str(FOLDER / f"{name}.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    # At such a size the speeds mean nothing; an aim may well be missed.
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    assert name in done.stdout


@pytest.fixture
def own_threads() -> Iterator[None]:
    """Leaves the number of threads as it was: what other tests compare to the bit depends on it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# In this process: programs of their own would load torch and transformers again, and that takes longest.
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pretraining", ["--preset", "quick", "--steps", "2", "--rounds", "1", "--long", "3"]),
        ("evaluation", ["--prompts", "2", "--new", "2", "--single", "1", "--rounds", "1"]),
        ("ablation", ["--new", "2", "--rounds", "1"]),
        (
            "proxy_tuning",
            ["--new", "2", "--rounds", "1", "--batches", "2", "--sizes", "miniature", "--context-aware"],
        ),
        ("token_shift", ["--prompts", "2", "--new", "4", "--vocabulary", "64", "--rounds", "1"]),
        pytest.param("weight_shift", ["--millions", "1", "--rounds", "1"], marks=pytest.mark.long),
    ],
)
@pytest.mark.usefixtures("own_threads")
def test_each_starts_and_ends(
    name: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *words])
    assert importlib.import_module(name).main() in (0, 1)
    printed = capsys.readouterr().out.splitlines()
    assert ["what", "ours", "beside"] in [line.split()[:3] for line in printed]
