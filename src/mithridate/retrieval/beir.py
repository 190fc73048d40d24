"""BEIR folders: `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`, streamed."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from mithridate.core.errors import DataError
from mithridate.core.types import Document
from mithridate.retrieval.json_lines import read_records, reading
from mithridate.retrieval.task import RetrievalTask

CORPUS = "corpus.jsonl"
QUERIES = "queries.jsonl"
QRELS = "qrels"
_COLUMNS = ("query-id", "corpus-id", "score")


def is_beir(path: Path | str) -> bool:
    """Whether `path` is a folder with a corpus in BEIR's form."""
    return (Path(path) / CORPUS).is_file()


def read_corpus(path: Path | str) -> Iterator[Document]:
    """The documents of a BEIR folder; the title comes before the text, as BEIR's own encoders have it.

    The title alone is kept in `meta`. Raises DataError naming file, line and field.
    """
    for record in read_records(Path(path) / CORPUS):
        title = record.text("title", default="")
        text = record.text("text")
        yield Document(
            id=record.text("_id", "id"),
            text=f"{title} {text}".strip() if title else text,
            meta={"title": title} if title else {},
        )


def read_queries(path: Path | str) -> dict[str, str]:
    """The queries of a BEIR folder by identifier, in the order of the file.

    Raises DataError naming file, line and field; also for an identifier that comes twice.
    """
    queries: dict[str, str] = {}
    for record in read_records(Path(path) / QUERIES):
        identifier = record.text("_id", "id")
        if identifier in queries:
            raise record.error(f"{identifier!r} comes twice", "_id")
        queries[identifier] = record.text("text")
    return queries


def read_qrels(path: Path | str, split: str = "test") -> dict[str, dict[str, int]]:
    """Query to document to grade, from `qrels/<split>.tsv` with its header line.

    Raises DataError naming the splits that there are where this one is absent, and line and field of what
    cannot be read.
    """
    file = Path(path) / QRELS / f"{split}.tsv"
    if not file.is_file():
        found = sorted(p.stem for p in (Path(path) / QRELS).glob("*.tsv"))
        raise DataError(f"no such split; there are {', '.join(found) or 'none'}", path=file)
    qrels: dict[str, dict[str, int]] = {}
    try:
        with reading(file), file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
            for number, row in enumerate(rows, start=1):
                if number == 1:
                    _check_header(row, file)
                elif row:
                    query, document, grade = _judgement(row, file, number)
                    qrels.setdefault(query, {})[document] = grade
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read as lines of tabs: {error}", path=file) from error
    return qrels


def _check_header(row: list[str], file: Path) -> None:
    # Without this, the first judgement of a file that lacks a header would vanish.
    if len(row) == len(_COLUMNS) and row[2].lstrip("+-").isdigit():
        raise DataError(f"has no header; the first line must read {' '.join(_COLUMNS)}", path=file, line=1)


def _judgement(row: list[str], file: Path, line: int) -> tuple[str, str, int]:
    if len(row) != len(_COLUMNS):
        raise DataError(f"has {len(row)} fields between tabs; expected {len(_COLUMNS)}", path=file, line=line)
    query, document, grade = row
    try:
        return query, document, int(grade)
    except ValueError:
        problem = f"must be a whole number, not {grade!r}"
        raise DataError(problem, path=file, line=line, field=_COLUMNS[2]) from None


def read_beir(path: Path | str, split: str = "test") -> RetrievalTask:
    """A BEIR folder as a task, with the queries that `split` judges.

    Without a folder `qrels` it has no judgements, and all its queries. Raises DataError for what cannot be
    read, a document that comes twice, a judged query that is not there, or a folder without documents.
    """
    path = Path(path)
    documents = tuple(read_corpus(path))
    if not documents:
        raise DataError("holds no document", path=path / CORPUS)
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            raise DataError(f"the document {document.id!r} comes twice", path=path / CORPUS, field="_id")
        seen.add(document.id)
    queries = read_queries(path)
    if not (path / QRELS).is_dir():
        return RetrievalTask(documents, queries, {})
    qrels = read_qrels(path, split)
    unknown = [query for query in qrels if query not in queries]
    if unknown:
        problem = f"judges {len(unknown)} queries that {QUERIES} lacks, such as {unknown[0]!r}"
        raise DataError(problem, path=path / QRELS / f"{split}.tsv", field=_COLUMNS[0])
    judged = {q: text for q, text in queries.items() if q in qrels}
    return RetrievalTask(documents, judged, qrels, split=split)
