"""What poison is made of besides its match: documents of the corpus, or texts that were written for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from mithridate.core.errors import DataError
from mithridate.retrieval.attacks.base import Target
from mithridate.retrieval.sources import read_lines, read_questions
from mithridate.retrieval.task import RetrievalTask

CORPUS: Final = "corpus"
WRONG_CONTEXTS: Final = "wrong_contexts"

Carriers: TypeAlias = Callable[[Target, int], list[str]]
"""So many different texts for a query, fewer where there are fewer. What is asked first comes first."""


def open_carriers(source: str, task: RetrievalTask) -> Carriers:
    """Carriers from "corpus" (random documents that do not answer the query), from "wrong_contexts" (the
    task's own, in their order), or from a file.

    A `.jsonl` file holds texts for any query, of which random ones are taken; any other is read as questions
    with texts for each: see `written_texts`. Raises DataError for a file that cannot be read, or that fits no
    query.
    """
    if source == CORPUS:
        return lambda target, n: _others(task, target, n)
    if source == WRONG_CONTEXTS:
        return _Written(task.wrong_contexts)
    path = Path(source)
    if not path.is_file():
        problem = f"no such file; texts come from {CORPUS!r}, from {WRONG_CONTEXTS!r}, or from a file"
        raise DataError(problem, path=path)
    return _Shared(_lines(path)) if path.suffix == ".jsonl" else _Written(written_texts(path, task))


def written_texts(path: Path | str, task: RetrievalTask) -> dict[str, tuple[str, ...]]:
    """Texts for the task's queries, from a file of questions as PoisonedRAG or RobustRAG's RealtimeQA have.

    A question is that query of the task with the same words, whatever their case; where no query has, the one
    with its identifier. Raises DataError for a file that cannot be read, or none of whose questions is asked.
    """
    given = read_questions(path)
    by_words = {_words(text): given.wrong_contexts[key] for key, text in given.queries.items()}
    found = {
        query: by_words.get(_words(text)) or given.wrong_contexts.get(query, ())
        for query, text in task.queries.items()
    }
    if not any(found.values()):
        raise DataError(
            f"none of its {len(given.queries)} questions has a text and is one of the {len(task.queries)} "
            "queries, by words or by identifier; name a file that was written for these queries",
            path=path,
        )
    return found


def _lines(path: Path) -> tuple[str, ...]:
    texts = tuple(dict.fromkeys(one.text for one in read_lines(path) if one.text.strip()))
    if not texts:
        raise DataError("holds no text", path=path)
    return texts


def _words(text: str) -> str:
    plain = "".join(c if c.isalnum() else " " for c in text.casefold())
    return " ".join(plain.split()) or text.strip()


def _others(task: RetrievalTask, target: Target, n: int) -> list[str]:
    """Random documents of the corpus that are not relevant to the query."""
    relevant = task.relevant(target.id)
    found: dict[str, None] = {}
    for row in target.rng.permutation(len(task.documents)):
        if len(found) == n:
            break
        document = task.documents[row]
        if document.id not in relevant and document.text.strip():
            found[document.text] = None
    return list(found)


@dataclass(frozen=True, slots=True)
class _Written:
    """Texts written for each query, in the order that they were given."""

    texts: Mapping[str, tuple[str, ...]]

    def __call__(self, target: Target, n: int) -> list[str]:
        texts = dict.fromkeys(text for text in self.texts.get(target.id, ()) if text.strip())
        return list(texts)[:n]


@dataclass(frozen=True, slots=True)
class _Shared:
    """Texts for any query, drawn at random."""

    texts: tuple[str, ...]

    def __call__(self, target: Target, n: int) -> list[str]:
        return [self.texts[i] for i in target.rng.permutation(len(self.texts))[:n]]
