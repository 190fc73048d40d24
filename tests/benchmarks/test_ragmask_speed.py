"""The benchmark of RAGMask's speed, on a corpus and an encoder so small that only its words are tested."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import ragmask_speed
from ragmask_speed import Form, rows_of, some_of

from mithridate.core.types import Document
from mithridate.retrieval.task import RetrievalTask

SCRIPT = Path(ragmask_speed.__file__)


def test_the_documents_that_answer_come_first() -> None:
    documents = tuple(Document(str(i), f"text {i}") for i in range(20))
    task = RetrievalTask(documents, {"a": "x", "b": "y", "c": "z"}, {"a": {"7": 1}, "b": {"13": 2}})
    queries, chosen = some_of(task, 5, 6, seed=0)
    assert sorted(queries) == ["x", "y"]
    assert [one.id for one in chosen[:2]] == ["7", "13"]
    assert len({one.id for one in chosen}) == 6


@pytest.mark.parametrize(
    ("warm", "met"),
    [([10.0] * 20, [True, True]), ([10.0] * 18 + [500.0] * 2, [True, False]), ([60.0], [False, True])],
)
def test_goals_stand_beside_figures(warm: list[float], met: list[bool]) -> None:
    rows = rows_of(Form([900.0], [300.0]), Form(warm, [2.0]), Form([1000.0], [300.0]))
    assert [row.met for row in rows[:2]] == met
    assert rows[0].ratio == pytest.approx(1000 / sorted(warm)[len(warm) // 2])
    assert all(row.met is None for row in rows[2:])


def test_it_runs(tmp_path: Path) -> None:
    lines = [{"_id": str(i), "text": f"stone {i} of the harbour lies by the river {i}"} for i in range(12)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "which stone"}))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t3\t1\n")
    words = [str(tmp_path), "--encoder", "hashing", "--rounds", "2"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False, timeout=120
    )
    # At such a size the speeds mean nothing; a goal may well be missed.
    assert done.returncode in (0, 1), done.stderr
    assert "the same ranking as the published form: 1 of 1 queries" in done.stdout
    assert "1 queries, 12 documents" in done.stdout
