"""Between a framework's documents and the guard: what goes in, and what comes back as metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from mithridate.core.types import Document
from mithridate.retrieval.base import Hit
from mithridate.retrieval.encoders.texts import readable
from mithridate.retrieval.guard import Answer, Guard

KEY: Final = "mithridate"
"""The key of the metadata under which a document tells what was found."""

_PLACE: Final = "place"


@runtime_checkable
class Searches(Protocol):
    """An index that defends itself: a `GuardedIndex`, a `StoreIndex`, or one of your own."""

    def search(self, query: str, top_k: int = 5, /) -> Answer:
        """The answer to a query, of at most `top_k` hits."""


@dataclass(frozen=True, slots=True)
class Given:
    """A document as a framework has it: its text, and an identifier and a score if there are any."""

    text: str
    id: str | None = None
    score: float | None = None


def rerank(guard: Guard, query: str, given: Sequence[Given], top_k: int | None) -> Answer:
    """The guard's answer over documents that some store returned, best first; `place` finds each again.

    At most `top_k` of them, or all if it is None. Their order counts as the store's; their scores do only if
    all have one. Raises QueryError for an empty query or a `top_k` below 1.
    """
    scored = all(one.score is not None and math.isfinite(one.score) for one in given)
    hits = [
        Hit(
            Document(str(place) if one.id is None else one.id, one.text, {_PLACE: str(place)}),
            one.score if scored and one.score is not None else math.nan,
        )
        for place, one in enumerate(given)
    ]
    return guard.rerank(query, hits, max(1, len(hits)) if top_k is None else top_k)


def place(hit: Hit) -> int:
    """Where among those given to `rerank` the document of this hit stood."""
    return int(hit.document.meta[_PLACE])


def with_findings(metadata: Mapping[str, Any], hit: Hit, answer: Answer) -> dict[str, Any]:
    """A copy of a document's `metadata` that holds under `KEY`, in plain JSON values, what was found.

    That is whether it looks planted, its score, what each defence says of it, and the warnings of the answer.
    What stood under `KEY` is replaced: whoever plants a document may write its metadata too.
    """
    findings = {
        "suspicious": hit.suspicious,
        "score": hit.score,
        "reasons": [reason.plain() for reason in hit.reasons],
        "warnings": list(answer.warnings),
    }
    # A plug-in's evidence may hold anything; what is no JSON value is told as Python writes it.
    written = json.dumps(findings, ensure_ascii=False, default=str)
    return {**metadata, KEY: json.loads(readable(written))}


def legible(document: Document) -> Document:
    """A copy without halves of surrogate pairs, which frameworks refuse and an index may hold."""
    meta = {readable(key): readable(value) for key, value in document.meta.items()}
    return Document(readable(document.id), readable(document.text), meta)
