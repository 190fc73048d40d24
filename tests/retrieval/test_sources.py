from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mithridate.core.errors import DataError
from mithridate.retrieval.sources import answered, open_documents, open_task, read_lines, read_questions

REALTIME = [
    {
        "question": "How many?",
        "correct answer": ["15%", "fifteen percent"],
        "incorrect answer": "32%",
        "id": 0,
        "incorrect_context": ["It is 32%.", "Surely 32%."],
        "context": [
            {"title": "Survey", "text": "It was 15% then.", "link": "http://x"},
            {"title": "", "text": "It was 115% then."},
            {"title": "", "text": ""},
        ],
    }
]
POISONED = {
    "test1": {
        "id": "test1",
        "question": "which season?",
        "correct answer": "23",
        "incorrect answer": "24",
        "adv_texts": ["Season 24.", "It is 24."],
    }
}


def written(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_realtime_questions(tmp_path: Path) -> None:
    task = open_task(written(tmp_path / "r.json", REALTIME))
    assert [d.text for d in task.documents] == ["Survey It was 15% then.", "It was 115% then."]
    assert task.documents[0].meta == {"title": "Survey", "link": "http://x"}
    assert task.queries == {"0": "How many?"}
    assert task.relevant("0") == {"0:0": 1}
    assert task.wrong_contexts == {"0": ("It is 32%.", "Surely 32%.")}
    assert task.answers["0"] == ("15%", "fifteen percent")
    assert task.wrong_answers == {"0": ("32%",)}


def test_poisonedrag_questions(tmp_path: Path) -> None:
    task = open_task(written(tmp_path / "p.json", POISONED))
    assert task.documents == ()
    assert task.queries == {"test1": "which season?"}
    assert task.wrong_contexts == {"test1": ("Season 24.", "It is 24.")}
    assert task.judged() == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The U.S. won", True),
        ("the us won", False),
        ("a Bus. ran", False),
        ("u s", True),
        ("", False),
    ],
)
def test_an_answer_is_found_as_whole_words(text: str, found: bool) -> None:
    assert answered(text, ("U.S.",)) is found


def test_no_answer_is_in_no_text() -> None:
    assert not answered("anything", ("", "..."))
    assert not answered("anything", ())


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], "list or a mapping of questions"),
        ("x", "list or a mapping of questions"),
        (None, "list or a mapping of questions"),
        ([1], "question 0 must be an object, not int"),
        ([{"id": "a"}], "field 'question': there is no such field"),
        ([{"question": "a", "context": ["x"]}], "field 'context': snippet 0 must be an object"),
        ([{"question": "a", "adv_texts": [3]}], "field 'adv_texts': must hold strings, not int"),
        ([{"question": "a", "id": 1}, {"question": "b", "id": 1}], "'1' comes twice"),
    ],
)
def test_what_is_wrong_with_questions_is_named(tmp_path: Path, value: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_questions(written(tmp_path / "q.json", value))


def test_lines_of_id_and_text(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"id": 7, "text": "a", "source": "web", "n": 3}\n\n{"text": "b"}\n')
    documents = list(read_lines(path))
    assert [(d.id, d.text) for d in documents] == [("7", "a"), ("c.jsonl:3", "b")]
    assert documents[0].meta == {"source": "web"}
    assert list(open_documents(path)) == documents
    assert open_task(path).queries == {}


def test_what_is_no_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_text("x")
    for name in ("a.doc", "nowhere.jsonl", "."):
        with pytest.raises(DataError, match="understood are a BEIR folder"):
            open_task(tmp_path / name)
        with pytest.raises(DataError, match="understood are a BEIR folder"):
            open_documents(tmp_path / name)


@pytest.mark.shared_data
def test_real_questions(shared_data: Path) -> None:
    real = open_task(shared_data / "retrieval" / "realtimeqa.json")
    assert len(real.queries) == 100
    assert all(real.wrong_contexts.values())
    assert len(real.judged()) > 50
    poisoned = open_task(shared_data / "retrieval" / "poisonedrag_nq.json")
    assert len(poisoned.queries) == 100
    assert all(len(texts) == 5 for texts in poisoned.wrong_contexts.values())
