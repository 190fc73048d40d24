"""The guard in Haystack: `python examples/guard_haystack.py [minilm | hashing]`.

Needs `pip install 'mithridate[haystack,offline]'`; nothing is downloaded. First a ranker behind a keyword
search, which shows that the guard needs nothing of a store but texts; then a retriever over a saved index.
Both pipelines are written down and read again.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Haystack looks at this when it is imported, and tells its makers of each pipeline that is run.
os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")

from guard_corpus import LESSON, QUESTION, TEXTS, encoder_name, show
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore

from mithridate.core.types import Document as Page
from mithridate.retrieval import GuardedIndex, open_encoder
from mithridate.retrieval.adapters.haystack import GuardedIndexRetriever, GuardRanker

TOP_K = 3
# Pipelines are files of class names: Haystack imports those alone that are allowed.
ALLOWED = ["mithridate.*", "haystack.*"]


def told(documents: list[Document]) -> list[tuple[str, Any]]:
    return [(document.id, document.meta.get("mithridate")) for document in documents]


def main() -> None:
    encoder = encoder_name()
    store = InMemoryDocumentStore()
    store.write_documents([Document(id=name, content=text) for name, text in TEXTS.items()])
    print(f"{QUESTION}\n")
    keywords = InMemoryBM25Retriever(store, top_k=2 * TOP_K)
    show("The keyword search alone:", told(keywords.run(QUESTION, top_k=TOP_K)["documents"]))

    pipeline = Pipeline()
    pipeline.add_component("keywords", keywords)
    pipeline.add_component("guard", GuardRanker(["ragmask", "consensus"], encoder, top_k=TOP_K))
    pipeline.connect("keywords.documents", "guard.documents")
    asked = {"keywords": {"query": QUESTION}, "guard": {"query": QUESTION}}
    found = pipeline.run(asked)["guard"]["documents"]
    show("The same search with RAGMask and Consensus behind it:", told(found))
    print(f"In the pipeline's file:\n{pipeline.dumps().partition('  keywords:')[0]}")

    with TemporaryDirectory() as folder:
        pages = [Page(name, text) for name, text in TEXTS.items()]
        GuardedIndex.build(pages, open_encoder(encoder), path=Path(folder, "index"))
        indexed = Pipeline()
        indexed.add_component("guarded", GuardedIndexRetriever(f"{folder}/index", encoder, top_k=TOP_K))
        again = Pipeline.loads(indexed.dumps(), allowed_modules=ALLOWED)
        answer = asyncio.run(again.run_async({"guarded": {"query": QUESTION}}))["guarded"]
        print(f"RAGPart, from a file, async: {', '.join(one.id for one in answer['documents'])}")
    print(f"\n{LESSON}")


if __name__ == "__main__":
    main()
