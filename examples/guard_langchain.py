"""The guard in LangChain: `python examples/guard_langchain.py [minilm | hashing]`.

Needs `pip install 'mithridate[langchain,offline]'`; nothing is downloaded. First over a store that knows
nothing of the guard, as most people have one; then an index of the guard's own, in a chain and async.
"""

from __future__ import annotations

import asyncio
from typing import Any

from guard_corpus import LESSON, QUESTION, TEXTS, encoder_name, show
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore

from mithridate.core.types import Document as Page
from mithridate.retrieval import Consensus, Encoder, Guard, GuardedIndex, RAGMask, TextRole, open_encoder
from mithridate.retrieval.adapters.langchain import GuardedRetriever, guard_runnable

TOP_K = 3


class Encoded(Embeddings):
    """Stands for whatever your vector store embeds with."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.encoder.encode(texts).tolist()  # type: ignore[no-any-return]

    def embed_query(self, text: str) -> list[float]:
        return self.encoder.encode([text], role=TextRole.QUERY)[0].tolist()  # type: ignore[no-any-return]


def told(documents: list[Document]) -> list[tuple[str, Any]]:
    return [(document.id or "", document.metadata.get("mithridate")) for document in documents]


def main() -> None:
    encoder = open_encoder(encoder_name())
    store = InMemoryVectorStore(Encoded(encoder))
    store.add_documents([Document(text, id=name) for name, text in TEXTS.items()])
    print(f"{QUESTION}\n")
    show("The store alone:", told(store.similarity_search(QUESTION, k=TOP_K)))

    guard = Guard([RAGMask(), Consensus()], encoder)
    guarded = guard_runnable(guard, store, top_k=TOP_K)
    show("The same store behind RAGMask and Consensus:", told(guarded.invoke(QUESTION)))

    pages = [Page(name, text) for name, text in TEXTS.items()]
    retriever = GuardedRetriever(index=GuardedIndex.build(pages, encoder), top_k=TOP_K)
    chain = retriever | RunnableLambda(lambda documents: [document.id for document in documents])
    print(f"RAGPart, in a chain, async: {', '.join(asyncio.run(chain.ainvoke(QUESTION)))}")
    print(f"\n{LESSON}")


if __name__ == "__main__":
    main()
