from __future__ import annotations

import asyncio
import copy

import pytest
from adapter_kit import ENCODER, HONEST, QUESTION, TEXTS, findings, guard, halved, index
from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from stores_kit import DictStore

from mithridate.core.errors import QueryError
from mithridate.core.types import Document
from mithridate.retrieval.adapters.llama_index import GuardedRetriever, GuardPostprocessor
from mithridate.retrieval.base import TextRole
from mithridate.retrieval.controls import Plain
from mithridate.retrieval.stores import StoreIndex


class Hashed(BaseEmbedding):
    def _get_text_embedding(self, text: str) -> list[float]:
        return [float(x) for x in ENCODER.encode([text])[0]]

    def _get_query_embedding(self, query: str) -> list[float]:
        return [float(x) for x in ENCODER.encode([query], role=TextRole.QUERY)[0]]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


def nodes(score: float | None = 0.5) -> list[NodeWithScore]:
    """The planted one first, as a store returns them."""
    texts = sorted(TEXTS.items(), key=lambda pair: pair[0] != "planted")
    return [
        NodeWithScore(node=TextNode(id_=name, text=text, metadata={"source": name}), score=score)
        for name, text in texts
    ]


def names(found: list[NodeWithScore]) -> list[str]:
    return [one.node_id for one in found]


def test_the_retriever_finds_what_the_index_finds() -> None:
    retriever = GuardedRetriever(index(), top_k=3)
    found = retriever.retrieve(QUESTION)
    expected = index().search(QUESTION, 3)
    assert names(found) == [hit.document.id for hit in expected.hits]
    assert [one.score for one in found] == [hit.score for hit in expected.hits]
    assert found[0].text == TEXTS[found[0].node_id]
    assert found[0].metadata["source"] == f"{found[0].node_id}.txt"
    assert asyncio.run(retriever.aretrieve(QueryBundle(QUESTION))) == found


def test_a_store_index_serves_too() -> None:
    held = StoreIndex(DictStore(), ENCODER, retriever=Plain())
    held.add([Document(name, text) for name, text in TEXTS.items()])
    assert names(GuardedRetriever(held, top_k=1).retrieve(QUESTION)) == ["planted"]


def test_a_document_that_holds_half_a_character_comes_back() -> None:
    (found,) = GuardedRetriever(halved()).retrieve("river")
    assert (found.node_id, found.text, found.metadata["k"]) == ("a\ufffd", "river \ufffd", "\ufffd")


@pytest.mark.parametrize("mode", ["observe", "demote", "drop"])
def test_the_postprocessor_acts_as_its_guard_does(mode: str) -> None:
    found = GuardPostprocessor(guard=guard(mode)).postprocess_nodes(nodes(), query_str=QUESTION)
    places = names(found)
    if mode == "drop":
        assert sorted(places) == sorted(HONEST)
    else:
        assert (places.index("planted") < places.index("history")) is (mode == "observe")
        assert findings(found[places.index("planted")].metadata)["suspicious"] is True
    assert findings(found[places.index("history")].metadata)["suspicious"] is False
    assert found[0].metadata["source"] == places[0]


def test_sync_async_and_both_forms_of_a_query_answer_alike() -> None:
    postprocessor = GuardPostprocessor(guard=guard(), top_k=2)
    found = postprocessor.postprocess_nodes(nodes(), query_str=QUESTION)
    assert len(found) == 2
    assert postprocessor.postprocess_nodes(nodes(), QueryBundle(QUESTION)) == found
    assert asyncio.run(postprocessor.apostprocess_nodes(nodes(), QueryBundle(QUESTION))) == found
    assert postprocessor.postprocess_nodes([], query_str=QUESTION) == []


def test_nodes_without_scores_get_theirs() -> None:
    given = nodes(None)
    found = GuardPostprocessor(guard=guard("observe")).postprocess_nodes(given, query_str=QUESTION)
    (asked,) = ENCODER.encode([QUESTION], role=TextRole.QUERY)
    expected = ENCODER.encode([one.node.get_content(MetadataMode.EMBED) for one in given]) @ asked
    assert names(found) == names(given)
    assert [one.score for one in found] == pytest.approx(expected.tolist(), abs=1e-6)


def test_it_changes_nothing_that_it_was_given() -> None:
    given = nodes()
    before = copy.deepcopy(given)
    GuardPostprocessor(guard=guard()).postprocess_nodes(given, query_str=QUESTION)
    assert given == before


def test_no_model_reads_what_was_found() -> None:
    processed = GuardPostprocessor(guard=guard()).postprocess_nodes(nodes(), query_str=QUESTION)
    again = GuardPostprocessor(guard=guard()).postprocess_nodes(processed, query_str=QUESTION)
    for found in (*GuardedRetriever(index()).retrieve(QUESTION), *processed, *again):
        for mode in (MetadataMode.LLM, MetadataMode.EMBED):
            assert "mithridate" not in found.node.get_content(mode)
            assert "source" in found.node.get_content(mode)
        assert found.node.excluded_llm_metadata_keys == ["mithridate"]
    assert [findings(one.metadata) for one in again] == [findings(one.metadata) for one in processed]


def test_text_that_an_embedding_reads_is_judged_metadata_included() -> None:
    """A question may be planted in a title: stores embed it with the text."""
    titled = nodes()
    body = titled[0].text.removeprefix(QUESTION)
    titled[0] = NodeWithScore(node=TextNode(id_="titled", text=body, metadata={"title": QUESTION}), score=0.9)
    found = GuardPostprocessor(guard=guard()).postprocess_nodes(titled, query_str=QUESTION)
    (judged,) = (one for one in found if one.node_id == "titled")
    assert findings(judged.metadata)["suspicious"] is True


def test_it_sits_in_a_query_engine_over_any_index() -> None:
    held = VectorStoreIndex([one.node for one in nodes()], embed_model=Hashed())
    postprocessor = GuardPostprocessor(guard=guard("drop"), top_k=3)
    # A model that answers with its prompt.
    engine = held.as_query_engine(
        llm=MockLLM(), similarity_top_k=5, node_postprocessors=[postprocessor], response_mode="compact"
    )
    found = engine.query(QUESTION)
    assert len(found.source_nodes) == 3
    assert "planted" not in names(found.source_nodes)
    assert TEXTS["history"] in str(found)
    assert "ragmask" not in str(found)
    assert "Brumdell" not in str(found)
    assert names(asyncio.run(engine.aquery(QUESTION)).source_nodes) == names(found.source_nodes)


def test_it_can_be_written_down_without_its_guard() -> None:
    assert GuardPostprocessor(guard=guard(), top_k=2).to_dict() == {
        "class_name": "GuardPostprocessor",
        "top_k": 2,
    }


def test_without_a_query_nothing_can_be_judged() -> None:
    with pytest.raises(QueryError, match="needs the query"):
        GuardPostprocessor(guard=guard()).postprocess_nodes(nodes())
    with pytest.raises(QueryError, match="the query is empty"):
        GuardedRetriever(index()).retrieve(" ")
