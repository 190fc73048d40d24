"""LlamaIndex: a retriever over a guarded index, and the guard as a postprocessor of any other's nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from mithridate.core.errors import MissingExtraError, QueryError
from mithridate.retrieval.adapters.answers import KEY, Given, Searches, legible, place, rerank, with_findings
from mithridate.retrieval.base import Hit
from mithridate.retrieval.guard import Answer, Guard

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.bridge.pydantic import Field
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
except ImportError as error:
    raise MissingExtraError("the LlamaIndex adaptor", "llama-index-core", "llama-index") from error


class GuardedRetriever(BaseRetriever):
    """The nodes that a `GuardedIndex` or a `StoreIndex` finds, at most `top_k`.

    What the defences found is in the metadata of each node under "mithridate", which neither language model
    nor embedding gets to read. Raises QueryError for an empty query.
    """

    def __init__(
        self, index: Searches, top_k: int = 5, callback_manager: CallbackManager | None = None
    ) -> None:
        super().__init__(callback_manager=callback_manager)
        self.index, self.top_k = index, top_k

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        answer = self.index.search(query_bundle.query_str, self.top_k)
        return [_node(hit, answer) for hit in answer.hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


class GuardPostprocessor(BaseNodePostprocessor):
    """The guard over nodes that any index returned, best first: at most `top_k` of them, or all.

    It judges the text that an embedding reads, metadata included. Get more nodes than you want to keep:
    `guard.breadth(top_k)` says how many its rerankers look at. The nodes given are not changed. Raises
    QueryError without a query.
    """

    guard: Guard = Field(exclude=True)
    top_k: int | None = None

    @classmethod
    def class_name(cls) -> str:
        """How LlamaIndex calls it."""
        return cls.__name__

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise QueryError("the guard needs the query of these nodes: give query_str or query_bundle")
        given = [Given(one.node.get_content(MetadataMode.EMBED), one.node_id, one.score) for one in nodes]
        answer = rerank(self.guard, query_bundle.query_str, given, self.top_k)
        return [
            NodeWithScore(node=_told(nodes[place(hit)].node, hit, answer), score=hit.score)
            for hit in answer.hits
        ]


def _node(hit: Hit, answer: Answer) -> NodeWithScore:
    found = legible(hit.document)
    node = TextNode(id_=found.id, text=found.text, metadata=found.meta)
    return NodeWithScore(node=_told(node, hit, answer), score=hit.score)


def _told(node: BaseNode, hit: Hit, answer: Answer) -> BaseNode:
    """A copy of the node, with what was found where no model reads it: metadata goes into prompts."""
    update: dict[str, Any] = {
        "metadata": with_findings(node.metadata, hit, answer),
        "excluded_embed_metadata_keys": _with_key(node.excluded_embed_metadata_keys),
        "excluded_llm_metadata_keys": _with_key(node.excluded_llm_metadata_keys),
    }
    return node.model_copy(update=update)


def _with_key(keys: Sequence[str]) -> list[str]:
    return [*(key for key in keys if key != KEY), KEY]
