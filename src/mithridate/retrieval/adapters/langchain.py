"""LangChain: a retriever over a guarded index, and the guard over the documents of any other retriever."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ConfigDict

from mithridate.core.errors import MissingExtraError
from mithridate.retrieval.adapters.answers import Given, Searches, legible, place, rerank, with_findings
from mithridate.retrieval.base import Hit
from mithridate.retrieval.guard import Answer, Guard

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
        Callbacks,
    )
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, run_in_executor
    from langchain_core.vectorstores import VectorStore
except ImportError as error:
    raise MissingExtraError("the LangChain adaptor", "langchain-core", "langchain") from error


class GuardedRetriever(BaseRetriever):
    """The documents that a `GuardedIndex` or a `StoreIndex` finds, at most `top_k`.

    `invoke(query, top_k=3)` asks for another number once. What the defences found is in the metadata of each
    document under "mithridate". Raises QueryError for an empty query.
    """

    index: Searches
    top_k: int = 5

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, top_k: int | None = None
    ) -> list[Document]:
        del run_manager  # Nothing is called that could report to it.
        answer = self.index.search(query, self.top_k if top_k is None else top_k)
        return [_document(hit, answer) for hit in answer.hits]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, top_k: int | None = None
    ) -> list[Document]:
        sync = run_manager.get_sync()
        return await run_in_executor(None, self._get_relevant_documents, query, run_manager=sync, top_k=top_k)


class GuardCompressor(BaseDocumentCompressor):
    """The guard over documents that any store returned, best first: at most `top_k` of them, or all.

    Get more documents than you want to keep: `guard.breadth(top_k)` says how many its rerankers look at. The
    documents given are not changed. Raises QueryError for an empty query.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    guard: Guard
    top_k: int | None = None

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,
        callbacks: Callbacks | None = None,  # noqa: ARG002 - asked for by the base class
    ) -> list[Document]:
        """Copies of the documents that stay, each with what was found under "mithridate"."""
        return _guarded(self.guard, query, documents, self.top_k)


def guard_runnable(
    guard: Guard, retriever: Runnable[str, list[Document]] | VectorStore, top_k: int = 5
) -> Runnable[str, list[Document]]:
    """A query in, at most `top_k` guarded documents out: what to put where a chain had its retriever.

    A vector store is asked for as many documents as the guard wants to see. A retriever decides that itself:
    give it `guard.breadth(top_k)`.
    """
    if isinstance(retriever, VectorStore):
        retriever = retriever.as_retriever(search_kwargs={"k": guard.breadth(top_k)})

    def answer(query: str, config: RunnableConfig) -> list[Document]:
        return _guarded(guard, query, retriever.invoke(query, config), top_k)

    async def answer_later(query: str, config: RunnableConfig) -> list[Document]:
        documents = await retriever.ainvoke(query, config)
        return await run_in_executor(config, _guarded, guard, query, documents, top_k)

    return RunnableLambda(answer, answer_later, name="guard")


def _document(hit: Hit, answer: Answer) -> Document:
    found = legible(hit.document)
    return Document(id=found.id, page_content=found.text, metadata=with_findings(found.meta, hit, answer))


def _guarded(guard: Guard, query: str, documents: Sequence[Document], top_k: int | None) -> list[Document]:
    answer = rerank(guard, query, [Given(one.page_content, one.id) for one in documents], top_k)
    pairs = [(documents[place(hit)], hit) for hit in answer.hits]
    return [
        document.model_copy(update={"metadata": with_findings(document.metadata, hit, answer)})
        for document, hit in pairs
    ]
