"""Corpora and questions in other forms: RobustRAG's RealtimeQA, PoisonedRAG's texts, lines of id and text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mithridate.core.errors import DataError
from mithridate.core.types import Document
from mithridate.retrieval.beir import is_beir, read_beir, read_corpus
from mithridate.retrieval.json_lines import Record, read_json, read_records
from mithridate.retrieval.task import RetrievalTask

_FORMS = (
    "a BEIR folder (corpus.jsonl, queries.jsonl, and qrels/ where there are judgements), a .jsonl file of id "
    "and text, or a .json file of questions as in RobustRAG's RealtimeQA or PoisonedRAG"
)


def open_task(path: Path | str, split: str = "test") -> RetrievalTask:
    """A task from any form that is understood; lines of id and text are a task without queries.

    Raises DataError for what is none, naming the forms.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"no such file or folder; understood are {_FORMS}", path=path)
    if is_beir(path):
        return read_beir(path, split)
    if path.suffix == ".jsonl":
        return RetrievalTask(tuple(read_lines(path)), {}, {})
    if path.suffix == ".json":
        return read_questions(path)
    raise DataError(f"not a corpus; understood are {_FORMS}", path=path)


def open_documents(path: Path | str) -> Iterator[Document]:
    """The documents alone, streamed where the form allows it.

    Raises DataError as `open_task`.
    """
    path = Path(path)
    if is_beir(path):
        return read_corpus(path)
    if path.suffix == ".jsonl" and path.exists():
        return read_lines(path)
    return iter(open_task(path).documents)


def read_lines(path: Path | str) -> Iterator[Document]:
    """Documents from a `.jsonl` file with `id` (or `_id`) and `text`, streamed.

    Those without an identifier are called by file and line; further fields that hold text go to `meta`.
    """
    path = Path(path)
    for record in read_records(path):
        yield Document(
            id=record.text("_id", "id", default=f"{path.name}:{record.line}"),
            text=record.text("text"),
            meta={
                key: value
                for key, value in record.values.items()
                if isinstance(value, str) and key not in ("_id", "id", "text")
            },
        )


def read_questions(path: Path | str) -> RetrievalTask:
    """A `.json` file of questions: RobustRAG's list, with snippets, or PoisonedRAG's mapping, with none.

    A snippet of a question counts as relevant (grade 1) where it contains a correct answer, as whole words
    and without regard to case; a question none of whose snippets does has no relevant document. Wrong
    contexts are `incorrect_context` or `adv_texts`. Raises DataError naming the question and field.
    """
    path = Path(path)
    documents: list[Document] = []
    queries: dict[str, str] = {}
    qrels: dict[str, dict[str, int]] = {}
    wrong_contexts: dict[str, tuple[str, ...]] = {}
    answers: dict[str, tuple[str, ...]] = {}
    wrong_answers: dict[str, tuple[str, ...]] = {}
    for key, record in _questions(path):
        query = record.text("id", default=key)
        if query in queries:
            raise DataError(f"the question {query!r} comes twice", path=path, field="id")
        queries[query] = record.text("question")
        answers[query] = record.texts("correct answer")
        wrong_answers[query] = record.texts("incorrect answer")
        wrong_contexts[query] = record.texts("incorrect_context") or record.texts("adv_texts")
        snippets = _snippets(record, query)
        documents += snippets
        qrels[query] = {d.id: 1 for d in snippets if answered(d.text, answers[query])}
    return RetrievalTask(tuple(documents), queries, qrels, wrong_contexts, answers, wrong_answers)


def _questions(path: Path) -> Iterator[tuple[str, Record]]:
    """The questions of a file with their key, or their number in a list."""
    found = read_json(path)
    if not isinstance(found, dict | list) or not found:
        raise DataError("must hold a list or a mapping of questions", path=path)
    for key, value in found.items() if isinstance(found, dict) else enumerate(found):
        if not isinstance(value, dict):
            raise DataError(f"question {key!r} must be an object, not {type(value).__name__}", path=path)
        yield str(key), Record(value, path)


def _snippets(record: Record, query: str) -> list[Document]:
    """What the web had for a question, the title before the text."""
    found: list[Document] = []
    for number, item in enumerate(record.items("context")):
        if not isinstance(item, dict):
            raise record.error(f"snippet {number} must be an object, not {type(item).__name__}", "context")
        snippet = Record(item, record.path)
        title = snippet.text("title", default="")
        text = f"{title} {snippet.text('text', default='')}".strip()
        if text:
            meta = {"title": title, "link": snippet.text("link", default="")}
            found.append(Document(f"{query}:{number}", text, {k: v for k, v in meta.items() if v}))
    return found


def answered(text: str, answers: tuple[str, ...]) -> bool:
    """Whether `text` holds one of `answers` as whole words, without regard to case and punctuation."""
    plain = _words(text)
    return any(words and words in plain for words in map(_words, answers))


def _words(text: str) -> str:
    kept = "".join(c if c.isalnum() or c in "%$€£" else " " for c in text.casefold())
    return f" {' '.join(kept.split())} " if kept.strip() else ""
