"""What a benchmark of retrieval is: documents, questions, and which document answers which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from mithridate.core.types import Document


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """A corpus with its queries, held in memory.

    `queries` maps an identifier to a question; `qrels` maps it to the documents that answer it, with their
    grade (above 0 is relevant). `wrong_contexts` maps it to texts that state a wrong answer, written for the
    question; `answers` and `wrong_answers` to what a generator should and should not say. A query may be
    absent from any of these. `split` names the judgements that were taken where a corpus has several; no
    figure depends on the name.
    """

    documents: tuple[Document, ...]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    wrong_contexts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wrong_answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    split: str | None = None

    def relevant(self, query_id: str) -> dict[str, int]:
        """The documents with a grade above 0 for a query, with their grades."""
        return {document: grade for document, grade in self.qrels.get(query_id, {}).items() if grade > 0}

    def judged(self) -> list[str]:
        """The queries that have a relevant document, in the order of `queries`."""
        return [query_id for query_id in self.queries if self.relevant(query_id)]

    def with_documents(self, more: Iterable[Document]) -> RetrievalTask:
        """The same task over a corpus with `more` at its end."""
        return replace(self, documents=(*self.documents, *more))
