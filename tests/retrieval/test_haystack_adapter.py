from __future__ import annotations

import asyncio
import copy
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from adapter_kit import ENCODER, HONEST, QUESTION, TEXTS, findings, halved, index
from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.core.errors import DeserializationError
from haystack.document_stores.in_memory import InMemoryDocumentStore

from mithridate.core.errors import ConfigError, EncoderError, QueryError, StorageError, UnknownNameError
from mithridate.retrieval.adapters import settings
from mithridate.retrieval.adapters.haystack import GuardedIndexRetriever, GuardRanker
from mithridate.retrieval.consensus import Consensus
from mithridate.retrieval.encoders import CachedEncoder
from mithridate.retrieval.ragmask import RAGMask

ALLOWED = ["mithridate.*", "haystack.*"]
RERANKERS: Any = [{"name": "ragmask", "options": {"span_tokens": 7, "delta": 0.3}}, "consensus"]


def given() -> list[Document]:
    """The planted one first, as a store returns them."""
    texts = sorted(TEXTS.items(), key=lambda pair: pair[0] != "planted")
    return [Document(id=name, content=text, meta={"source": name}, score=0.5) for name, text in texts]


def ranker(mode: str = "demote", **options: Any) -> GuardRanker:
    return GuardRanker(RERANKERS, "hashing", mode, **options)


def names(documents: list[Document]) -> list[str]:
    return [document.id for document in documents]


def saved(tmp_path: Path, mode: str = "demote") -> str:
    index(mode, path=tmp_path / "index")
    return str(tmp_path / "index")


def test_the_retriever_finds_what_the_index_finds(tmp_path: Path) -> None:
    retriever = GuardedIndexRetriever(saved(tmp_path), "hashing", top_k=3)
    found = retriever.run(QUESTION)
    expected = index().search(QUESTION, 3)
    assert names(found["documents"]) == [hit.document.id for hit in expected.hits]
    assert [one.score for one in found["documents"]] == [hit.score for hit in expected.hits]
    first = found["documents"][0]
    assert (first.content, first.meta["source"]) == (TEXTS[first.id], f"{first.id}.txt")
    assert findings(first.meta)["reasons"][0]["defense"] == "ragmask"
    assert found["warnings"] == []
    assert asyncio.run(retriever.run_async(QUESTION)) == found
    assert len(retriever.run(QUESTION, top_k=1)["documents"]) == 1


def test_an_index_that_is_open_serves_and_cannot_be_written_down() -> None:
    retriever = GuardedIndexRetriever(index("drop"))
    assert sorted(names(retriever.run(QUESTION)["documents"])) == sorted(HONEST)
    with pytest.raises(ConfigError, match="give the folder"):
        retriever.to_dict()


def test_the_mode_of_a_folder_can_be_another(tmp_path: Path) -> None:
    retriever = GuardedIndexRetriever(saved(tmp_path), "hashing", mode="observe")
    assert names(retriever.run(QUESTION)["documents"])[0] == "planted"


def test_a_document_that_holds_half_a_character_comes_back() -> None:
    (found,) = GuardedIndexRetriever(halved()).run("river")["documents"]
    assert (found.id, found.content, found.meta["k"]) == ("a\ufffd", "river \ufffd", "\ufffd")


@pytest.mark.parametrize("mode", ["observe", "demote", "drop"])
def test_the_ranker_acts_as_its_guard_does(mode: str) -> None:
    found = ranker(mode).run(QUESTION, given())
    places = names(found["documents"])
    if mode == "drop":
        assert sorted(places) == sorted(HONEST)
        assert names(found["removed"]) == ["planted"]
        assert findings(found["removed"][0].meta)["suspicious"] is True
    else:
        assert places.index("planted") == (0 if mode == "observe" else 4)
        assert found["removed"] == []
    assert found["documents"][0].meta["source"] == places[0]


def test_the_ranker_answers_async_in_part_and_without_documents() -> None:
    some = ranker(top_k=2)
    found = some.run(QUESTION, given())
    assert len(found["documents"]) == 2
    assert asyncio.run(some.run_async(QUESTION, given())) == found
    assert len(some.run(QUESTION, given(), top_k=3)["documents"]) == 3
    assert some.run(QUESTION, []) == {"documents": [], "removed": [], "warnings": ["nothing was found"]}


@pytest.mark.parametrize("kind", ["index", "guard"])
def test_async_calls_open_once_and_in_another_thread(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path)
    opened: list[int] = []

    def slowly(name: str) -> Any:
        opened.append(threading.get_ident())
        time.sleep(0.05)
        return ENCODER

    monkeypatch.setattr(settings, "open_encoder", slowly)
    retriever, guarded = GuardedIndexRetriever(folder, "slow"), GuardRanker([], "slow")

    async def three() -> None:
        calls = [
            retriever.run_async(QUESTION) if kind == "index" else guarded.run_async(QUESTION, given())
            for _ in range(3)
        ]
        await asyncio.gather(*calls)

    asyncio.run(three())
    assert len(opened) == 1
    assert threading.get_ident() not in opened


def test_warnings_come_out_beside_the_documents() -> None:
    found = ranker("drop").run(QUESTION, given()[:1])
    assert names(found["documents"]) == ["planted"]
    assert "look planted" in found["warnings"][0]
    assert findings(found["documents"][0].meta)["warnings"] == found["warnings"]


def test_nothing_that_was_given_is_changed() -> None:
    documents = [*given(), Document(id="none", content=None, meta={"source": "none"}, score=0.1)]
    before = copy.deepcopy(documents)
    found = ranker().run(QUESTION, documents)
    assert documents == before
    assert "none" in names(found["documents"])


def pipeline(retriever: InMemoryBM25Retriever) -> Pipeline:
    made = Pipeline()
    made.add_component("bm25", retriever)
    made.add_component("guard", ranker("drop", top_k=3))
    made.connect("bm25.documents", "guard.documents")
    return made


def test_a_pipeline_over_any_store_can_be_written_and_read_again() -> None:
    store = InMemoryDocumentStore()
    store.write_documents([Document(id=name, content=text) for name, text in TEXTS.items()])
    made = pipeline(InMemoryBM25Retriever(store, top_k=5))
    asked = {"bm25": {"query": QUESTION}, "guard": {"query": QUESTION}}
    assert names(
        made.run({"bm25": {"query": QUESTION}, "guard": {"query": QUESTION}})["guard"]["removed"]
    ) == ["planted"]
    assert "planted" not in names(asyncio.run(made.run_async(asked))["guard"]["documents"])
    again = Pipeline.loads(made.dumps(), allowed_modules=ALLOWED)
    assert again.to_dict()["components"]["guard"] == made.to_dict()["components"]["guard"]
    assert again.get_component("guard").run(QUESTION, given()) == ranker("drop", top_k=3).run(
        QUESTION, given()
    )


def test_a_retriever_in_a_pipeline_can_be_written_and_read_again(tmp_path: Path) -> None:
    made = Pipeline()
    made.add_component("guarded", GuardedIndexRetriever(saved(tmp_path), {"spec": "hashing"}, "drop", 3))
    again = Pipeline.loads(made.dumps(), allowed_modules=ALLOWED)
    assert again.to_dict() == made.to_dict()
    asked = {"guarded": {"query": QUESTION}}
    assert again.run(asked) == made.run(asked)
    with pytest.raises(DeserializationError, match="mithridate"):
        Pipeline.loads(made.dumps())


def test_defences_are_written_as_their_specs() -> None:
    written = GuardRanker([RAGMask(delta=float("inf")), "consensus"], {"spec": "hashing"}, floor=2).to_dict()
    assert written["init_parameters"]["rerankers"][0]["options"]["delta"] == "inf"
    assert written["init_parameters"]["floor"] == 2
    assert GuardRanker.from_dict(written).to_dict() == written


def test_an_encoder_that_is_an_object_serves_and_cannot_be_written_down(tmp_path: Path) -> None:
    made = GuardRanker([Consensus()], CachedEncoder(ENCODER, tmp_path))
    assert len(made.run(QUESTION, given())["documents"]) == 5
    with pytest.raises(ConfigError, match="CachedEncoder cannot be written down"):
        made.to_dict()


def test_what_is_wrong_is_said_when_the_component_is_made() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ragmask'"):
        GuardRanker(["ragmsk"])
    with pytest.raises(UnknownNameError, match="mode"):
        GuardRanker([], mode="delete")
    with pytest.raises(UnknownNameError, match="mode"):
        GuardedIndexRetriever("somewhere", mode="delete")
    with pytest.raises(ConfigError, match="give a reranker"):
        GuardRanker(["ragpart"])
    with pytest.raises(ConfigError, match="a defence is written as"):
        GuardRanker([{"nam": "ragmask"}])


def test_what_is_wrong_with_the_encoder_or_the_index_is_said_on_warming_up(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keywords of open_encoder"):
        GuardRanker([], {"sepc": "hashing"}).warm_up()
    with pytest.raises(UnknownNameError, match="encoder"):
        GuardRanker([], "mnilm").warm_up()
    with pytest.raises(StorageError, match="holds no index"):
        GuardedIndexRetriever(tmp_path / "none", "hashing").warm_up()
    with pytest.raises(EncoderError, match="was built with"):
        GuardedIndexRetriever(saved(tmp_path), CachedEncoder(type(ENCODER)(64), tmp_path / "c")).warm_up()


def test_an_empty_query_is_refused() -> None:
    with pytest.raises(QueryError, match="the query is empty"):
        ranker().run("", given())
    with pytest.raises(QueryError, match="the query is empty"):
        GuardedIndexRetriever(index()).run("")
