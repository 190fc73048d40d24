from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from index_kit import some_documents, told
from stores_kit import DictStore

from mithridate.core.errors import (
    ConfigError,
    DocumentError,
    EncoderError,
    QueryError,
    StoreUnavailableError,
)
from mithridate.core.types import Document
from mithridate.retrieval.consensus import Consensus
from mithridate.retrieval.controls import Concatenated, MeanOfFragments, Plain
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.index import GuardedIndex
from mithridate.retrieval.ragmask import RAGMask
from mithridate.retrieval.ragpart import RAGPart
from mithridate.retrieval.stores import StoreIndex
from mithridate.retrieval.stores.base import Entry, read, written

ENCODER = HashingEncoder(64)
# Sorted by identifier, as candidates are.
DOCUMENTS = sorted(some_documents(50), key=lambda document: document.id)
QUERIES = ["river stone number17", "amber lantern", DOCUMENTS[3].text]


def filled(store: Any, **options: Any) -> StoreIndex:
    index = StoreIndex(store, ENCODER, **options)
    assert index.add(DOCUMENTS) == 50
    return index


@pytest.mark.parametrize("retriever", [Plain(), RAGPart(), RAGPart(4, 2), MeanOfFragments(3)])
@pytest.mark.parametrize("rerankers", [(), (Consensus(), RAGMask())])
def test_with_all_as_candidates_it_is_the_exact_index(retriever: Any, rerankers: Any) -> None:
    index = filled(DictStore(), retriever=retriever, rerankers=rerankers)
    exact = GuardedIndex.build(DOCUMENTS, ENCODER, retriever=retriever, rerankers=rerankers)
    assert told(index.search(QUERIES)) == told(exact.search(QUERIES))
    assert index.missed(QUERIES) == 0
    assert len(index) == 50


def test_observing() -> None:
    index = filled(DictStore(), mode="observe")
    exact = GuardedIndex.build(DOCUMENTS, ENCODER, mode="observe")
    assert told(index.search(QUERIES[0])) == told(exact.search(QUERIES[0]))


def test_what_candidates_miss_is_told() -> None:
    exact = filled(DictStore()).search(QUERIES[:2], top_k=5)
    lost = {hit.document.id for hit in exact[0].hits[:2]}
    index = filled(DictStore(overlooks=sorted(lost)), candidates=200)
    both = sum(hit.document.id in lost for answer in exact for hit in answer.hits)
    assert index.missed(QUERIES[:2], top_k=5) == pytest.approx(both / 10)
    assert filled(DictStore(), candidates=1).missed(QUERIES, top_k=5) < 1


def test_the_means_of_fragments_bring_candidates_too() -> None:
    seen: list[str] = []

    class Watched(DictStore):
        def nearest(self, query: Any, by: Any, limit: int) -> Any:
            seen.append(f"{by} {limit}")
            return super().nearest(query, by, limit)

    filled(Watched(), candidates=9).search(QUERIES[0])
    filled(Watched(), candidates=9, retriever=Plain(), rerankers=[Consensus()]).search(QUERIES[0], top_k=7)
    assert seen == ["whole 9", "mean 9", "whole 14"]


@pytest.mark.parametrize("down", ["nearest", "vectors"])
def test_a_store_that_goes_away(down: str) -> None:
    store = DictStore()
    index = filled(store)
    store.down = {down}
    with pytest.raises(StoreUnavailableError, match="is gone"):
        index.search(QUERIES[0])


def test_failing_open_gives_the_plain_answer_with_a_warning() -> None:
    store = DictStore()
    index = filled(store, fail_open=True)
    store.down = {"vectors"}
    answer = index.search(QUERIES[0], top_k=4)
    plain = filled(DictStore(), retriever=Plain()).search(QUERIES[0], top_k=4)
    assert [hit.document for hit in answer.hits] == [hit.document for hit in plain.hits]
    assert answer.warnings[0].startswith("undefended answer: ")
    assert not answer.hits[0].reasons
    store.down = {"vectors", "nearest"}
    with pytest.raises(StoreUnavailableError):
        index.search(QUERIES[0])


def test_failing_open_between_the_two_searches() -> None:
    class Halfway(DictStore):
        def nearest(self, query: Any, by: Any, limit: int) -> Any:
            if by == "mean":
                raise StoreUnavailableError("gone halfway")
            return super().nearest(query, by, limit)

    answer = filled(Halfway(), fail_open=True).search(QUERIES[0], top_k=4)
    plain = filled(DictStore(), retriever=Plain()).search(QUERIES[0], top_k=4)
    assert [hit.document for hit in answer.hits] == [hit.document for hit in plain.hits]
    assert answer.warnings == ("undefended answer: gone halfway",)
    with pytest.raises(StoreUnavailableError, match="gone halfway"):
        filled(Halfway()).search(QUERIES[0])


def test_a_document_that_is_deleted_meanwhile_is_left_out() -> None:
    class Forgetting(DictStore):
        def vectors(self, ids: Any) -> Any:
            return super().vectors([one for one in ids if one != self.gone])

    store = Forgetting()
    index = filled(store)
    store.gone = ""
    best = index.search(QUERIES[0]).hits[0].document.id
    store.gone = best
    assert best not in [hit.document.id for hit in index.search(QUERIES[0]).hits]


def test_putting_again_replaces_and_deleting_deletes() -> None:
    index = filled(DictStore())
    index.add([Document("d7", "walnut violin")])
    assert len(index) == 50
    assert index.search("walnut violin", 1).hits[0].document.text == "walnut violin"
    index.delete(["d7", "never there"])
    index.delete("d8")
    assert len(index) == 48


def test_a_blank_text_deletes_what_it_replaces(caplog: pytest.LogCaptureFixture) -> None:
    index = filled(DictStore(), retriever=Plain())
    assert index.warnings == ()
    some = [Document("d3", "   "), Document("new", ""), Document("d4", ""), Document("d4", "walnut")]
    with caplog.at_level(logging.WARNING, "mithridate.retrieval"):
        assert index.add(some) == 1
        index.add([Document("d5", "violin")])
    assert "d3" not in [hit.document.id for hit in index.search("number3", 60).hits]
    assert index.search("walnut", 1).hits[0].document == Document("d4", "walnut")
    assert len(index) == 49
    warning = "3 blank documents were left out; 1 documents that they replaced were deleted"
    assert index.warnings == (warning,)
    assert [record.getMessage() for record in caplog.records].count(warning) == 1
    exact = GuardedIndex.build(DOCUMENTS, ENCODER, retriever=Plain())
    with pytest.raises(DocumentError, match="taken already"):
        exact.add([Document("d3", "   ")])


def test_an_encoder_that_ragpart_does_not_fit_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mithridate.retrieval"):
        index = filled(DictStore(), retriever=RAGPart())
    assert index.warnings == GuardedIndex.build(DOCUMENTS, ENCODER, retriever=RAGPart()).warnings
    assert "RAGPart does not apply" in index.warnings[0]
    assert index.warnings[0] in caplog.text
    assert filled(DictStore(), retriever=Plain()).warnings == ()


def test_an_empty_store_answers_with_nothing() -> None:
    index = StoreIndex(DictStore(), ENCODER)
    answer = index.search("anything")
    assert answer.hits == ()
    assert answer.warnings
    assert index.missed(["anything"]) == 0
    assert index.add([Document("a", " ")]) == 0


def test_another_encoder_is_refused() -> None:
    store = DictStore()
    filled(store)
    for encoder, retriever in [(HashingEncoder(32), RAGPart()), (ENCODER, RAGPart(4, 3)), (ENCODER, Plain())]:
        with pytest.raises(EncoderError, match="holds vectors of the encoder"):
            StoreIndex(store, encoder, retriever=retriever)
    StoreIndex(store, ENCODER, retriever=RAGPart(5, 2))


def test_what_is_refused() -> None:
    with pytest.raises(ConfigError, match="concatenated"):
        StoreIndex(DictStore(), ENCODER, retriever=Concatenated())
    with pytest.raises(ConfigError, match="candidates"):
        StoreIndex(DictStore(), ENCODER, candidates=0)
    index = StoreIndex(DictStore(), ENCODER)
    with pytest.raises(QueryError):
        index.search(" ")
    with pytest.raises(QueryError):
        index.search("a", 0)
    with pytest.raises(QueryError):
        index.missed([])
    with pytest.raises(DocumentError, match="document 0 is a str"):
        index.add(["text"])  # type: ignore[list-item]


def test_the_mean_of_fragments() -> None:
    document = Document("a", "x")
    whole = np.array([1, 0], np.float32)
    pieces = np.array([[1, 0], [0, 1]], np.float32)
    assert np.allclose(Entry(document, whole, pieces).mean(), [0.5**0.5] * 2)
    for cancelled in (np.array([[0, 1], [0, -1]], np.float32), pieces[:0]):
        assert np.array_equal(Entry(document, whole, cancelled).mean(), whole)


def test_documents_are_written_as_ascii() -> None:
    document = Document("a\ud800\0", "мир \udfff\0", {"k": "\u202e"})
    assert written(document).isascii()
    assert "\0" not in written(document)
    assert read(written(document)) == document
