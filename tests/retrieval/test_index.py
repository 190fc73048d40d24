from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_kit import CountingEncoder, some_documents, told, tree

from mithridate.core.errors import ConfigError, DocumentError, EncoderError, QueryError, StorageError
from mithridate.core.types import Document
from mithridate.retrieval.base import Hit, Mode, Query, Reason
from mithridate.retrieval.consensus import Consensus
from mithridate.retrieval.controls import Concatenated, MeanOfFragments, Plain
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.encodings import Encodings
from mithridate.retrieval.guard import Answer
from mithridate.retrieval.index import GuardedIndex
from mithridate.retrieval.ragmask import RAGMask
from mithridate.retrieval.ragpart import RAGPart

DOCUMENTS = some_documents(40)
ENCODER = HashingEncoder(64)
QUERY = "river stone number17"


def ids(answer: Answer) -> list[str]:
    return [hit.document.id for hit in answer.hits]


@pytest.fixture(params=["memory", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "index" if request.param == "folder" else None


def test_plain_search_is_exact(place: Path | None) -> None:
    index = GuardedIndex.build(DOCUMENTS, ENCODER, retriever=Plain(), path=place)
    similarities = ENCODER.encode([d.text for d in DOCUMENTS]) @ ENCODER.encode([QUERY])[0]
    best = np.argsort(-similarities, kind="stable")[:5]
    answer = index.search(QUERY, top_k=5)
    assert ids(answer) == [f"d{row}" for row in best]
    assert np.allclose([hit.score for hit in answer.hits], similarities[best], atol=1e-6)
    assert answer.hits[0].document == DOCUMENTS[best[0]]
    assert len(index) == 40


@pytest.mark.parametrize("retriever", [Plain(), RAGPart(), MeanOfFragments(3), Concatenated(4, 2)])
def test_memory_and_folder_find_the_same(tmp_path: Path, retriever: Any) -> None:
    here = GuardedIndex.build(DOCUMENTS, ENCODER, retriever=retriever)
    there = GuardedIndex.build(DOCUMENTS, ENCODER, retriever=retriever, path=tmp_path / "index")
    again = GuardedIndex.open(tmp_path / "index", ENCODER, retriever=retriever)
    queries = [QUERY, "amber lantern", DOCUMENTS[3].text]
    assert told(here.search(queries)) == told(there.search(queries)) == told(again.search(queries))
    for (name, one), (_, other) in zip(here.vectors.named(), again.vectors.named(), strict=True):
        assert one.shape == other.shape, name
        assert np.array_equal(one, other), name


def test_a_batch_is_its_queries(place: Path | None) -> None:
    index = GuardedIndex.build(DOCUMENTS, ENCODER, path=place)
    both = [index.search(QUERY, 3), index.search("amber", 3)]
    assert told(index.search([QUERY, "amber"], 3)) == told(both)
    assert index.search([]) == []


def test_ragpart_is_the_default_and_keeps_little(place: Path | None) -> None:
    index = GuardedIndex.build(DOCUMENTS, ENCODER, path=place)
    assert index.retriever == RAGPart()
    assert index.nbytes == 40 * 4 * (5 * 64 + 10)
    assert "voted" in index.search(QUERY).hits[0].reasons[0].says


def test_rerankers_get_the_vectors_of_whole_documents(place: Path | None) -> None:
    encoder = CountingEncoder()
    index = GuardedIndex.build(DOCUMENTS, encoder, rerankers=[Consensus()], path=place)
    encoder.seen.clear()
    answer = index.search(QUERY)
    assert encoder.seen == [QUERY]
    assert answer.encodings == 0
    assert [reason.defense for reason in answer.hits[0].reasons] == ["ragpart", "consensus"]


def test_more_hits_are_brought_up_where_a_reranker_wants_them() -> None:
    class Widest:
        name = "widest"
        seen = 0

        def breadth(self, top_k: int) -> int:
            return 7 * top_k

        def rerank(self, query: Query, hits: Any, top_k: int, encodings: Encodings) -> list[Hit]:
            self.seen = len(hits)
            return list(reversed(hits))

    widest = Widest()
    index = GuardedIndex.build(DOCUMENTS, ENCODER, retriever=Plain(), rerankers=[widest])
    plain = ids(GuardedIndex.build(DOCUMENTS, ENCODER, retriever=Plain()).search(QUERY, 14))
    assert ids(index.search(QUERY, 2)) == plain[:-3:-1]
    assert widest.seen == 14


def test_adding_is_building(place: Path | None) -> None:
    index = GuardedIndex.build(DOCUMENTS[:10], ENCODER, path=place)
    assert index.add(DOCUMENTS[10:15]) == 5
    assert index.add(iter(DOCUMENTS[15:])) == 25
    whole = GuardedIndex.build(DOCUMENTS, ENCODER)
    assert told(index.search([QUERY, "amber"])) == told(whole.search([QUERY, "amber"]))
    assert list(index.documents) == DOCUMENTS
    if place is not None:
        again = GuardedIndex.open(place, ENCODER, retriever=RAGPart())
        assert told(again.search(QUERY)) == told(whole.search(QUERY))


def test_deleted_documents_are_never_found(place: Path | None) -> None:
    index = GuardedIndex.build(DOCUMENTS, ENCODER, retriever=Plain(), path=place)
    gone = ids(index.search(QUERY, 3))
    index.delete(gone)
    left = GuardedIndex.build([d for d in DOCUMENTS if d.id not in gone], ENCODER, retriever=Plain())
    assert told(index.search([QUERY, "amber"], 9)) == told(left.search([QUERY, "amber"], 9))
    assert len(index) == 37
    assert list(index.documents) == list(left.documents)
    index.add([Document(gone[0], "river stone number17")])
    assert ids(index.search(QUERY, 1)) == gone[:1]
    assert len(index) == 38
    if place is not None:
        again = GuardedIndex.open(place, ENCODER, retriever=Plain())
        assert told(again.search(QUERY, 9)) == told(index.search(QUERY, 9))
        assert len(again) == 38


def test_all_documents_deleted(place: Path | None) -> None:
    index = GuardedIndex.build(DOCUMENTS[:3], ENCODER, path=place)
    index.delete(d.id for d in DOCUMENTS[:3])
    answer = index.search(QUERY)
    assert answer.hits == ()
    assert answer.warnings
    assert index.documents == []
    with pytest.raises(DocumentError, match="nothing to save"):
        index.save("anywhere")


def test_deleting_is_all_or_nothing(place: Path | None) -> None:
    index = GuardedIndex.build(DOCUMENTS, ENCODER, path=place)
    with pytest.raises(DocumentError, match="1 of the documents to delete are not here, such as 'x'"):
        index.delete(["d1", "x"])
    assert len(index) == 40
    index.delete("d1")
    with pytest.raises(DocumentError, match="such as 'd1'"):
        index.delete(["d1"])


def test_identifiers_come_once(place: Path | None) -> None:
    with pytest.raises(DocumentError, match="document 2: the identifier 'd0' is taken"):
        GuardedIndex.build([*DOCUMENTS[:2], DOCUMENTS[0]], ENCODER, path=place)
    index = GuardedIndex.build(DOCUMENTS[:2], ENCODER, path=place)
    before = told(index.search(QUERY))
    with pytest.raises(DocumentError, match="'d1' is taken"):
        index.add([*some_documents(300, seed=1)[2:], DOCUMENTS[1]])
    assert len(index) == 2
    assert told(index.search(QUERY)) == before
    assert index.add(some_documents(300, seed=1)[2:]) == 298


def test_a_failed_adding_leaves_the_index_as_it_was(place: Path | None) -> None:
    def broken() -> Iterator[Document]:
        yield from some_documents(300, seed=2)[5:]
        raise KeyboardInterrupt

    index = GuardedIndex.build(DOCUMENTS[:5], ENCODER, path=place)
    before = told(index.search([QUERY, "amber"]))
    with pytest.raises(KeyboardInterrupt):
        index.add(broken())
    assert told(index.search([QUERY, "amber"])) == before
    index.add(DOCUMENTS[5:])
    whole = GuardedIndex.build(DOCUMENTS, ENCODER)
    assert told(index.search([QUERY, "amber"])) == told(whole.search([QUERY, "amber"]))


def test_blank_documents_are_left_out_and_counted(
    place: Path | None, caplog: pytest.LogCaptureFixture
) -> None:
    blank = [Document("e", ""), Document("f", " \n\t\u2003 ")]
    with caplog.at_level(logging.WARNING, logger="mithridate.retrieval"):
        index = GuardedIndex.build([blank[0], *DOCUMENTS, blank[1]], ENCODER, path=place)
    assert "2 blank documents were left out" in index.warnings
    assert "2 blank documents were left out" in caplog.text
    assert len(index) == 40
    if place is not None:
        assert GuardedIndex.open(place, ENCODER, retriever=RAGPart()).warnings == index.warnings
    assert index.add([Document("g", "")]) == 0
    with pytest.raises(DocumentError, match="no document to index; 2 blank"):
        GuardedIndex.build(blank, ENCODER)


@pytest.mark.parametrize("bad", ["text", Document(3, "x"), Document("x", None)])  # type: ignore[arg-type]
def test_what_is_no_document(bad: Any) -> None:
    with pytest.raises(DocumentError, match="document 1"):
        GuardedIndex.build([DOCUMENTS[0], bad], ENCODER)


def test_no_document_at_all(place: Path | None) -> None:
    with pytest.raises(DocumentError, match="no document"):
        GuardedIndex.build([], ENCODER, path=place)
    # And nothing stands in the way of another try.
    GuardedIndex.build(DOCUMENTS, ENCODER, path=place)


def test_strange_texts_come_back_as_they_were(place: Path | None) -> None:
    strange = [
        Document("a\ud800", "half a pair \udc00 here", {"k": "\ud83d"}),
        Document("b\0", "nul \0 inside"),
        Document("one", "word"),
        Document("мир", "mixed 文字 scripts مرحبا"),
        Document("", "no identifier to speak of"),
        Document("long", "long " * 300_000),
    ]
    index = GuardedIndex.build(strange, ENCODER, path=place)
    assert sorted(ids(index.search("word", 99))) == sorted(d.id for d in strange)
    found = {hit.document.id: hit.document for hit in index.search("word", 99).hits}
    assert [found[d.id] for d in strange] == strange
    index.delete(["a\ud800", ""])
    assert len(index) == 4


def test_queries_that_ask_nothing(place: Path | None) -> None:
    index = GuardedIndex.build(DOCUMENTS, ENCODER, path=place)
    with pytest.raises(QueryError, match=r"the query is empty$"):
        index.search("  ")
    with pytest.raises(QueryError, match="number 1"):
        index.search(["a", ""])
    with pytest.raises(QueryError, match="top_k is 0"):
        index.search("a", 0)


def test_more_results_than_documents(place: Path | None) -> None:
    index = GuardedIndex.build(DOCUMENTS, ENCODER, path=place)
    assert len(index.search(QUERY, 1000).hits) == 40


def test_observing_leaves_the_plain_search_as_it_is(place: Path | None) -> None:
    index = GuardedIndex.build(DOCUMENTS, ENCODER, mode="observe", rerankers=[Consensus()], path=place)
    plain = GuardedIndex.build(DOCUMENTS, ENCODER, retriever=Plain())
    seen, expected = index.search(QUERY), plain.search(QUERY)
    assert ids(seen) == ids(expected)
    assert [hit.score for hit in seen.hits] == [hit.score for hit in expected.hits]
    assert [r.defense for r in seen.hits[0].reasons] == ["ragpart", "consensus"]


def test_dropping_keeps_to_the_floor() -> None:
    class Suspecting:
        name = "suspecting"

        def breadth(self, top_k: int) -> int:
            return top_k

        def rerank(self, query: Query, hits: Any, top_k: int, encodings: Encodings) -> list[Hit]:
            reason = Reason("suspecting", True, "always")
            return [Hit(h.document, h.score, (*h.reasons, reason), h.vector) for h in hits]

    built = {
        floor: GuardedIndex.build(DOCUMENTS, ENCODER, rerankers=[Suspecting()], mode=Mode.DROP, floor=floor)
        for floor in (0, 2)
    }
    assert len(built[0].search(QUERY).hits) == 0
    answer = built[2].search(QUERY)
    assert len(answer.hits) == 2
    assert answer.warnings
    with pytest.raises(ConfigError, match="floor"):
        GuardedIndex.build(DOCUMENTS, ENCODER, floor=-1)


def test_progress(place: Path | None) -> None:
    told: list[tuple[int, int | None]] = []
    documents = some_documents(600, words=3)
    GuardedIndex.build(documents, ENCODER, path=place, progress=lambda *done: told.append(done))
    assert told == [(256, 600), (512, 600), (600, 600)]
    told.clear()
    GuardedIndex.build(iter(documents), ENCODER, progress=lambda *done: told.append(done))
    assert told[-1] == (600, None)


def test_building_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('{"id": "a", "text": "river"}\n{"id": "b", "text": "stone"}\n')
    index = GuardedIndex.build(tmp_path / "c.jsonl", ENCODER, retriever=Plain())
    assert ids(index.search("stone", 1)) == ["b"]


def test_vectors_that_are_none_are_refused(place: Path | None) -> None:
    class Failing:
        def encode(self, texts: list[str]) -> Any:
            return [[float("nan") if "number17" in text else 1.0, 1.0] for text in texts]

    with pytest.raises(EncoderError, match="not finite"):
        GuardedIndex.build(DOCUMENTS, Failing(), path=place)


def test_masks_can_be_encoded_when_building(place: Path | None) -> None:
    encoder = CountingEncoder()
    index = GuardedIndex.build(
        DOCUMENTS, encoder, retriever=Plain(), rerankers=[RAGMask(delta=9)], eager_masks=True, path=place
    )
    assert len(index.guard.masked) == 40
    encoder.seen.clear()
    index.search(QUERY)
    assert encoder.seen == [QUERY]
    index.add([Document("new", "a new document")])
    assert len(index.guard.masked) == 41
    if place is not None:
        again = GuardedIndex.open(place, encoder, retriever=Plain(), rerankers=[RAGMask(delta=9)])
        assert len(again.guard.masked) == 41


def test_saving_from_memory(tmp_path: Path) -> None:
    index = GuardedIndex.build(DOCUMENTS, ENCODER, rerankers=[Consensus()])
    index.delete(["d3"])
    index.save(tmp_path / "index")
    assert index.path is None
    again = GuardedIndex.open(tmp_path / "index", ENCODER, retriever=RAGPart(), rerankers=[Consensus()])
    assert told(again.search([QUERY, "amber"])) == told(index.search([QUERY, "amber"]))
    assert len(again.rows) == 39
    with pytest.raises(StorageError, match="holds an index already"):
        index.save(tmp_path / "index")


def test_saving_over_itself_gives_space_back(tmp_path: Path) -> None:
    index = GuardedIndex.build(DOCUMENTS, ENCODER, path=tmp_path / "index")
    index.delete([f"d{i}" for i in range(30)])
    index.add([Document("new", "river stone")])
    before, found = sum(map(len, tree(tmp_path).values())), told(index.search(QUERY))
    reader = GuardedIndex.open(tmp_path / "index", ENCODER, retriever=RAGPart())
    index.save(tmp_path / "index", replace=True)
    assert sum(map(len, tree(tmp_path).values())) < before / 2
    assert told(index.search(QUERY)) == found
    # Whoever has the old files open still reads them.
    assert told(reader.search(QUERY)) == found
    index.add([Document("newer", "river stone")])
    assert len(GuardedIndex.open(tmp_path / "index", ENCODER, retriever=RAGPart())) == 12
