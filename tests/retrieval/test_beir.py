from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mithridate.core.errors import DataError
from mithridate.core.types import Document
from mithridate.retrieval.beir import is_beir, read_beir, read_corpus, read_qrels, read_queries

CORPUS = [
    {"_id": "d1", "title": "Herons", "text": "They stand in rivers."},
    {"_id": "d2", "title": "", "text": "No title.", "metadata": {"url": "x"}},
    {"_id": "d3", "title": None, "text": ""},
]
QUERIES = [{"_id": "q1", "text": "where?"}, {"_id": "q2", "text": "what?"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td9\t0\n"


def folder(root: Path, *, corpus: str | None = None, queries: str | None = None, qrels: str = QRELS) -> Path:
    def lines(rows: list[dict[str, object]]) -> str:
        return "".join(json.dumps(row) + "\n" for row in rows)

    (root / "qrels").mkdir(parents=True)
    (root / "corpus.jsonl").write_text(lines(CORPUS) if corpus is None else corpus)
    (root / "queries.jsonl").write_text(lines(QUERIES) if queries is None else queries)
    (root / "qrels" / "test.tsv").write_text(qrels)
    return root


def test_reading_a_folder(tmp_path: Path) -> None:
    task = read_beir(folder(tmp_path / "b"))
    assert task.documents == (
        Document("d1", "Herons They stand in rivers.", {"title": "Herons"}),
        Document("d2", "No title."),
        Document("d3", ""),
    )
    assert task.queries == {"q1": "where?"}
    assert task.relevant("q1") == {"d1": 2}
    assert task.judged() == ["q1"]
    assert len(task.with_documents([Document("x", "y")]).documents) == 4
    assert is_beir(tmp_path / "b")
    assert not is_beir(tmp_path)


def test_a_corpus_is_streamed(tmp_path: Path) -> None:
    path = folder(tmp_path / "b", corpus='{"_id": "d1", "text": "fine"}\nbroken\n')
    documents = read_corpus(path)
    assert next(documents).text == "fine"
    with pytest.raises(DataError, match=r"corpus.jsonl, line 2: broken JSON"):
        next(documents)


@pytest.mark.parametrize(
    ("corpus", "told"),
    [
        ('{"text": "x"}\n', r"line 1, field '_id': there is no such field; the fields are 'text'"),
        ('\n{"_id": "a", "txt": "x"}\n', r"line 2, field 'text'"),
        ('{"_id": "a", "text": 3.5e0, "title": ["x"]}\n', r"field 'title': must be a string, not list"),
        ('{"_id": true, "text": "x"}\n', "field '_id': must be a string, not bool"),
        ('{"_id": "a", "text": null}\n', "field 'text': must be a string, not NoneType"),
        ("[1]\n", "line 1: each line must hold a JSON object"),
        ('{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}\n', "'a' comes twice"),
        ("", "holds no document"),
    ],
)
def test_what_is_wrong_with_a_corpus_is_named(tmp_path: Path, corpus: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_beir(folder(tmp_path / "b", corpus=corpus))


@pytest.mark.parametrize(
    ("qrels", "told"),
    [
        ("q1\td1\t2\n", "has no header"),
        ("query-id\tcorpus-id\tscore\nq1\td1\n", r"test.tsv, line 2: has 2 fields"),
        ("query-id\tcorpus-id\tscore\nq1\td1\tmuch\n", r"line 2, field 'score': must be a whole number"),
        (
            "query-id\tcorpus-id\tscore\nq7\td1\t1\n",
            "judges 1 queries that queries.jsonl lacks, such as 'q7'",
        ),
    ],
)
def test_what_is_wrong_with_qrels_is_named(tmp_path: Path, qrels: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_beir(folder(tmp_path / "b", qrels=qrels))


def test_a_quotation_mark_in_qrels_is_a_character(tmp_path: Path) -> None:
    path = folder(tmp_path / "b", qrels='query-id\tcorpus-id\tscore\nq1\t"d1\t1\n')
    assert read_qrels(path) == {"q1": {'"d1': 1}}


def test_splits_that_there_are_get_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such split; there are test"):
        read_beir(folder(tmp_path / "b"), split="dev")


def test_without_a_folder_of_judgements_all_queries_are_asked(tmp_path: Path) -> None:
    path = folder(tmp_path / "b")
    shutil.rmtree(path / "qrels")
    task = read_beir(path)
    assert list(task.queries) == list(read_queries(path)) and not task.judged() and task.split is None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path / "b")
    (path / "queries.jsonl").unlink()
    with pytest.raises(DataError, match=r"queries.jsonl: no such file"):
        read_queries(path)


def test_a_query_that_comes_twice(tmp_path: Path) -> None:
    twice = '{"_id": "q1", "text": "a"}\n' * 2
    with pytest.raises(DataError, match=r"line 2, field '_id': 'q1' comes twice"):
        read_queries(folder(tmp_path / "b", queries=twice))


def test_bom_and_lone_surrogates(tmp_path: Path) -> None:
    path = folder(tmp_path / "b")
    (path / "corpus.jsonl").write_bytes(b'\xef\xbb\xbf{"_id": "a", "text": "x\\ud800y"}\r\n\r\n')
    assert [d.text for d in read_corpus(path)] == ["x\ud800y"]


@pytest.mark.shared_data
def test_nfcorpus(shared_data: Path) -> None:
    task = read_beir(shared_data / "retrieval" / "nfcorpus")
    assert len(task.documents) == 3633
    assert len(task.judged()) == 323
    assert all(document in {d.id for d in task.documents} for document in task.relevant(task.judged()[0]))
