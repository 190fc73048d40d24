"""What figures depend on, as short names: a task, some documents, files that options name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mithridate.core.artifacts import fingerprint
from mithridate.core.types import Document
from mithridate.retrieval.json_lines import reading
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


def digests_of_files(options: Mapping[str, Any]) -> dict[str, str]:
    """A hash of what is in each file that `options`, or lists in them, name.

    Raises DataError for a file that cannot be read.
    """
    found = {}
    for text in filter(_is_file, _texts(options.values())):
        with reading(Path(text)), Path(text).open("rb") as stream:
            found[text] = hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    return found


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # Too long for a name, or with a null character: a text, and no path.
        return False


def _texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            yield from _texts(value)
