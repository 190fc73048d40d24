"""What figures depend on, as short names: a task, some documents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from mithridate.core.artifacts import fingerprint
from mithridate.core.types import Document
from mithridate.retrieval.task import RetrievalTask


def digest_of_documents(documents: Iterable[Document]) -> str:
    """A hash of identifiers and texts in their order."""
    digest = hashlib.sha256()
    for document in documents:
        for text in (document.id, document.text):
            data = text.encode(errors="surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


def digest_of_task(task: RetrievalTask) -> str:
    """A hash of all that figures of a task depend on."""
    asked = (task.queries, task.qrels, task.wrong_contexts, task.answers, task.wrong_answers)
    return fingerprint([digest_of_documents(task.documents), *map(dict, asked)])
