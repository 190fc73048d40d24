"""Haystack: a retriever over a guarded index, and the guard as a ranker of any retriever's documents."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mithridate.core.errors import MissingExtraError
from mithridate.retrieval.adapters import settings
from mithridate.retrieval.adapters.answers import Given, legible, place, rerank, with_findings
from mithridate.retrieval.base import Hit
from mithridate.retrieval.guard import Answer

try:
    from haystack import Document, component, default_from_dict, default_to_dict
except ImportError as error:
    raise MissingExtraError("the Haystack adaptor", "haystack-ai", "haystack") from error


@component
class GuardedIndexRetriever:
    """The documents that a guarded index finds, at most `top_k`, with what was found in `meta["mithridate"]`.

    If `index` is a folder, it is opened with `encoder` and in `mode` when the pipeline warms up.
    """

    def __init__(
        self,
        index: settings.IndexSetting,
        encoder: settings.EncoderSetting = "minilm",
        mode: str | None = None,
        top_k: int = 5,
    ) -> None:
        self._index, self._top_k = settings.LazyIndex(index, encoder, mode), top_k

    def warm_up(self) -> None:
        """Open the index, once."""
        self._index.open()

    @component.output_types(documents=list[Document], warnings=list[str])
    def run(self, query: str, top_k: int | None = None) -> dict[str, Any]:
        """`documents`, best first, and `warnings`. Raises QueryError for an empty query."""
        answer = self._index.open().search(query, self._top_k if top_k is None else top_k)
        documents = [_document(hit, answer) for hit in answer.hits]
        return {"documents": documents, "warnings": list(answer.warnings)}

    @component.output_types(documents=list[Document], warnings=list[str])
    async def run_async(self, query: str, top_k: int | None = None) -> dict[str, Any]:
        """The same, in another thread, where the first call also opens what is to be opened."""
        return await asyncio.to_thread(self.run, query, top_k)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` needs. Raises ConfigError for an index or an encoder that is an object."""
        return default_to_dict(self, **self._index.written(), top_k=self._top_k)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GuardedIndexRetriever:
        """The component that `to_dict` told of."""
        return default_from_dict(cls, data)


@component
class GuardRanker:
    """The guard over documents that any store returned, best first: at most `top_k` of them, or all.

    Outputs are `documents` (copies, with what was found in `meta["mithridate"]`), those that the mode left
    out as `removed`, and `warnings`.
    """

    def __init__(
        self,
        rerankers: Sequence[settings.DefenseSetting],
        encoder: settings.EncoderSetting = "minilm",
        mode: str = "demote",
        floor: int = 1,
        top_k: int | None = None,
    ) -> None:
        self._guard, self._top_k = settings.LazyGuard(rerankers, encoder, mode, floor), top_k

    def warm_up(self) -> None:
        """Open the encoder, once."""
        self._guard.open()

    @component.output_types(documents=list[Document], removed=list[Document], warnings=list[str])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, Any]:
        """`documents`, `removed` and `warnings`. Raises QueryError for an empty query."""
        given = [Given(one.content or "", one.id, one.score) for one in documents]
        answer = rerank(self._guard.open(), query, given, self._top_k if top_k is None else top_k)
        kept = [_told(documents[place(hit)], hit, answer) for hit in answer.hits]
        removed = [_told(documents[place(hit)], hit, answer) for hit in answer.removed]
        return {"documents": kept, "removed": removed, "warnings": list(answer.warnings)}

    @component.output_types(documents=list[Document], removed=list[Document], warnings=list[str])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, Any]:
        """The same, in another thread, where the first call also opens what is to be opened."""
        return await asyncio.to_thread(self.run, query, documents, top_k)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` needs. Raises ConfigError for an encoder that is an object."""
        return default_to_dict(self, **self._guard.written(), top_k=self._top_k)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> GuardRanker:
        """The component that `to_dict` told of."""
        return default_from_dict(cls, data)


def _document(hit: Hit, answer: Answer) -> Document:
    found = legible(hit.document)
    return _told(Document(id=found.id, content=found.text, meta=dict(found.meta)), hit, answer)


def _told(document: Document, hit: Hit, answer: Answer) -> Document:
    return replace(document, meta=with_findings(document.meta, hit, answer), score=hit.score)
