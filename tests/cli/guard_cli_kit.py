"""A small BEIR folder with documents out to do harm, and the command line called as a user calls it."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import typer
from typer.testing import CliRunner

from mithridate.cli import guard

HOSTILE = "\x1b[31m<script>alert(1)</script> [bold]\u202e \ud800 lamp"
_TOPICS = ("amber", "barley", "copper", "dahlia", "ember", "falcon", "glacier", "harbour", "ivory", "jasper")
_FILLERS = (
    "river",
    "stone",
    "lantern",
    "orchard",
    "violin",
    "thistle",
    "meadow",
    "cinder",
    "willow",
    "quarry",
)


def write_corpus(folder: Path) -> Path:
    """Ten topics with three documents each and one question each; one document is hostile."""
    rng = random.Random(0)
    folder.mkdir(parents=True)
    documents, queries, judged = [], [], ["query-id\tcorpus-id\tscore"]
    for topic in _TOPICS:
        for number in range(3):
            words = [*rng.choices(_FILLERS, k=40), *[topic] * 6]
            rng.shuffle(words)
            documents.append({"_id": f"{topic}{number}", "title": "", "text": " ".join(words)})
            judged.append(f"q-{topic}\t{topic}{number}\t1")
        queries.append({"_id": f"q-{topic}", "text": f"what is {topic}"})
    documents.append({"_id": "evil\x1b]0;x\x07", "title": "", "text": f"{HOSTILE} amber " * 8})
    for name, rows in (("corpus.jsonl", documents), ("queries.jsonl", queries)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text("\n".join(judged) + "\n", encoding="utf-8")
    return folder


def call(*arguments: str | Path, code: int = 0, app: typer.Typer = guard.app) -> str:
    """What the command prints; errors made for users come through as they are."""
    words = [str(argument) for argument in arguments]
    done = CliRunner().invoke(app, words, catch_exceptions=False, env={"COLUMNS": "100"})
    assert done.exit_code == code, done.output
    return done.output


def inert(printed: str) -> bool:
    """Whether nothing in it would act on a terminal."""
    return all(char.isprintable() or char == "\n" for char in printed)


def widest(printed: str, but: Sequence[str] = ("report:", "figures:")) -> int:
    """The longest line, paths and messages left out, which are there to be copied."""
    return max(len(line) for line in printed.splitlines() if not line.startswith(tuple(but)))
