from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from adapter_kit import ENCODER, HONEST, QUESTION, TEXTS, findings, guard, halved, index
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import ValidationError
from stores_kit import DictStore

from mithridate.core.errors import QueryError
from mithridate.core.types import Document as Stored
from mithridate.retrieval.adapters.langchain import GuardCompressor, GuardedRetriever, guard_runnable
from mithridate.retrieval.base import TextRole
from mithridate.retrieval.controls import Plain
from mithridate.retrieval.stores import StoreIndex


class Hashed(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[float(x) for x in row] for row in ENCODER.encode(texts)]

    def embed_query(self, text: str) -> list[float]:
        return [float(x) for x in ENCODER.encode([text], role=TextRole.QUERY)[0]]


class Listener(BaseCallbackHandler):
    def __init__(self) -> None:
        self.ended: list[int] = []

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.ended.append(len(documents))


def store() -> InMemoryVectorStore:
    held = InMemoryVectorStore(Hashed())
    held.add_documents(given())
    return held


def given() -> list[Document]:
    return [Document(text, id=name, metadata={"source": name}) for name, text in TEXTS.items()]


def names(documents: Any) -> list[str]:
    return [document.id for document in documents]


def test_the_retriever_finds_what_the_index_finds() -> None:
    found = GuardedRetriever(index=index(), top_k=3).invoke(QUESTION)
    expected = index().search(QUESTION, 3)
    assert names(found) == [hit.document.id for hit in expected.hits]
    assert found[0].page_content == TEXTS[names(found)[0]]
    assert found[0].metadata["source"] == f"{names(found)[0]}.txt"
    assert [findings(one.metadata)["score"] for one in found] == [hit.score for hit in expected.hits]


def test_the_retriever_asks_for_another_number_once() -> None:
    retriever = GuardedRetriever(index=index())
    assert len(retriever.invoke(QUESTION, top_k=1)) == 1
    assert len(asyncio.run(retriever.ainvoke(QUESTION, top_k=2))) == 2
    assert len(retriever.invoke(QUESTION)) == 5


def test_async_and_batches_answer_as_sync_does() -> None:
    retriever = GuardedRetriever(index=index())
    found = retriever.invoke(QUESTION)
    assert asyncio.run(retriever.ainvoke(QUESTION)) == found
    assert retriever.batch([QUESTION, "pears"])[0] == found
    assert asyncio.run(retriever.abatch(["pears", QUESTION]))[1] == found


def test_callbacks_are_told() -> None:
    listener = Listener()
    GuardedRetriever(index=index(), top_k=2).invoke(QUESTION, {"callbacks": [listener]})
    assert listener.ended == [2]


def test_a_store_index_serves_too() -> None:
    held = StoreIndex(DictStore(), ENCODER, retriever=Plain())
    held.add([Stored(name, text) for name, text in TEXTS.items()])
    assert names(GuardedRetriever(index=held, top_k=1).invoke(QUESTION)) == ["planted"]


def test_what_is_no_index_is_refused() -> None:
    with pytest.raises(ValidationError, match="Searches"):
        GuardedRetriever(index=object())


def test_a_document_that_holds_half_a_character_comes_back() -> None:
    (found,) = GuardedRetriever(index=halved()).invoke("river")
    assert (found.id, found.page_content, found.metadata["k"]) == ("a\ufffd", "river \ufffd", "\ufffd")


@pytest.mark.parametrize("mode", ["observe", "demote", "drop"])
def test_the_compressor_acts_as_its_guard_does(mode: str) -> None:
    documents = store().similarity_search(QUESTION, k=5)
    assert names(documents)[0] == "planted"
    found = GuardCompressor(guard=guard(mode)).compress_documents(documents, QUESTION)
    places = names(found)
    if mode == "drop":
        assert sorted(places) == sorted(HONEST)
    else:
        assert places.index("planted") == (0 if mode == "observe" else 4)
        assert findings(found[places.index("planted")].metadata)["suspicious"] is True
    assert findings(found[places.index("history")].metadata)["suspicious"] is False


def test_the_compressor_changes_nothing_that_it_was_given() -> None:
    documents = given()
    before = copy.deepcopy(documents)
    found = GuardCompressor(guard=guard(), top_k=2).compress_documents(documents, QUESTION)
    assert documents == before
    assert len(found) == 2
    assert all(one.metadata["source"] == one.id for one in found)


def test_the_compressor_answers_async_and_without_documents() -> None:
    compressor = GuardCompressor(guard=guard())
    found = compressor.compress_documents(given(), QUESTION)
    assert asyncio.run(compressor.acompress_documents(given(), QUESTION)) == found
    assert compressor.compress_documents([], QUESTION) == []


def test_warnings_of_the_answer_come_with_each_document() -> None:
    documents = [one for one in given() if one.id == "planted"]
    (found,) = GuardCompressor(guard=guard("drop")).compress_documents(documents, QUESTION)
    assert "look planted" in findings(found.metadata)["warnings"][0]


def test_a_runnable_over_a_vector_store_asks_for_what_the_guard_wants_to_see() -> None:
    runnable = guard_runnable(guard("drop"), store(), top_k=3)
    found = runnable.invoke(QUESTION)
    assert "planted" not in names(found)
    assert len(found) == 3
    assert asyncio.run(runnable.ainvoke(QUESTION)) == found


def test_a_runnable_over_a_retriever_hands_callbacks_on() -> None:
    listener = Listener()
    retriever = store().as_retriever(search_kwargs={"k": 5})
    chain = {"context": guard_runnable(guard(), retriever, top_k=2), "question": RunnablePassthrough()}
    found = (chain | RunnableLambda(lambda both: both)).invoke(QUESTION, {"callbacks": [listener]})
    assert names(found["context"]) == ["history", "keepers"]
    assert found["question"] == QUESTION
    assert listener.ended == [5]


def test_an_empty_query_is_refused() -> None:
    with pytest.raises(QueryError, match="the query is empty"):
        GuardedRetriever(index=index()).invoke("")
    with pytest.raises(QueryError, match="the query is empty"):
        GuardCompressor(guard=guard()).compress_documents(given(), "")
