"""The guard in LlamaIndex: `python examples/guard_llama_index.py [minilm | hashing]`.

Needs `pip install 'mithridate[llama-index,offline]'`; nothing is downloaded. First a postprocessor behind an
index that knows nothing of the guard, as most people have one; then a retriever over an index of its own.
"""

from __future__ import annotations

import asyncio
from typing import Any

from guard_corpus import LESSON, QUESTION, TEXTS, encoder_name, show
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode

from mithridate.core.types import Document as Page
from mithridate.retrieval import Consensus, Encoder, Guard, GuardedIndex, RAGMask, TextRole, open_encoder
from mithridate.retrieval.adapters.llama_index import GuardedRetriever, GuardPostprocessor

TOP_K = 3


class Encoded(BaseEmbedding):
    """Stands for whatever your index embeds with."""

    _encoder: Encoder = PrivateAttr()

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self._encoder = encoder

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._encoder.encode([text])[0].tolist()  # type: ignore[no-any-return]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._encoder.encode([query], role=TextRole.QUERY)[0].tolist()  # type: ignore[no-any-return]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


def told(nodes: list[NodeWithScore]) -> list[tuple[str, Any]]:
    return [(node.node_id, node.metadata.get("mithridate")) for node in nodes]


def main() -> None:
    encoder = open_encoder(encoder_name())
    nodes = [TextNode(id_=name, text=text, metadata={"page": name}) for name, text in TEXTS.items()]
    index = VectorStoreIndex(nodes, embed_model=Encoded(encoder))
    print(f"{QUESTION}\n")
    show("The index alone:", told(index.as_retriever(similarity_top_k=TOP_K).retrieve(QUESTION)))

    guard = Guard([RAGMask(), Consensus()], encoder)
    found = index.as_retriever(similarity_top_k=guard.breadth(TOP_K)).retrieve(QUESTION)
    kept = GuardPostprocessor(guard=guard, top_k=TOP_K).postprocess_nodes(found, query_str=QUESTION)
    show("The same index with RAGMask and Consensus behind it:", told(kept))
    print(f"What a language model reads of the first node:\n{kept[0].node.get_content(MetadataMode.LLM)}\n")

    pages = [Page(name, text) for name, text in TEXTS.items()]
    retriever = GuardedRetriever(GuardedIndex.build(pages, encoder), top_k=TOP_K)
    names = [node.node_id for node in asyncio.run(retriever.aretrieve(QUESTION))]
    print(f"RAGPart, async: {', '.join(names)}")
    print(f"\n{LESSON}")


if __name__ == "__main__":
    main()
