from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bench_kit import bench_task
from index_kit import CountingEncoder, some_documents

from mithridate.core.errors import DocumentError
from mithridate.core.types import Document
from mithridate.retrieval.base import Layout, Mode, Query
from mithridate.retrieval.encoders import CachedEncoder, HashingEncoder
from mithridate.retrieval.index import GuardedIndex
from mithridate.retrieval.measuring.corpus_vectors import CorpusVectors
from mithridate.retrieval.measuring.searching import Searcher, WatchedMasks, cost_of
from mithridate.retrieval.measuring.written import parse_chains

CHAINS = [
    "plain",
    "ragpart",
    "ragpart(fragments=4,combination=2)+ragmask",
    "concatenated(fragments=3,combination=2)+consensus",
    "mean_of_fragments+ragmask(delta=0.2)",
]
PLANTED = [Document("p0", "amber amber lantern"), Document("p1", "a falcon over the harbour of amber")]


def prepared(encoder: HashingEncoder | CachedEncoder, documents: list[Document]) -> CorpusVectors:
    corpus = CorpusVectors(documents, encoder)
    corpus.prepare([chain.layout for chain in parse_chains(CHAINS)])
    return corpus


@pytest.mark.parametrize("number", range(len(CHAINS)), ids=CHAINS)
def test_it_finds_what_a_guarded_index_finds(number: int) -> None:
    chain, encoder = parse_chains(CHAINS)[number], HashingEncoder(64)
    documents = [*bench_task().documents, Document("blank", "  ")]
    text = "where does one find amber nowadays"
    asked = Query(text, encoder.encode([text])[0])
    corpus = prepared(encoder, documents)
    for planted in ([], PLANTED, PLANTED[:1], []):
        index = GuardedIndex.build(
            [*documents, *planted],
            encoder,
            retriever=chain.retriever,
            rerankers=chain.rerankers,
            mode=Mode.DEMOTE,
        )
        expected = index.search(text, 4)
        with corpus.planted(planted):
            found = Searcher(chain, corpus, encoder, WatchedMasks(encoder)).answer(asked, 4)
            assert corpus.view(chain.layout).whole.shape == index.vectors.whole.shape
        assert [hit.document for hit in found.hits] == [hit.document for hit in expected.hits]
        assert [hit.score for hit in found.hits] == pytest.approx([hit.score for hit in expected.hits])
        assert [hit.suspicious for hit in found.hits] == [hit.suspicious for hit in expected.hits]


def test_parts_that_layouts_share_are_encoded_once() -> None:
    encoder = CountingEncoder()
    corpus = CorpusVectors(some_documents(20), encoder)
    corpus.prepare([Layout(), Layout(whole=True, fragments=5, combination=3)])
    corpus.prepare([Layout(whole=False, fragments=5, combination=2), Layout()])
    assert len(encoder.seen) == 20 + 20 * 5
    assert corpus.build_cost(Layout(whole=False, fragments=5, combination=2)).texts == 100
    assert corpus.build_cost(Layout(whole=True, fragments=5, combination=3)).texts == 120


def test_what_came_from_a_cache_is_not_timed(tmp_path: Path) -> None:
    for expected in (True, False):
        encoder = CachedEncoder(HashingEncoder(64), tmp_path)
        corpus = prepared(encoder, some_documents(20))
        assert (corpus.build_cost(Layout()).seconds is not None) is expected
        encoder.close()


def test_an_error_leaves_the_clean_corpus() -> None:
    corpus = prepared(HashingEncoder(64), some_documents(8))
    before = corpus.view(Layout()).whole.copy()
    with pytest.raises(DocumentError, match="'d3' comes twice"), corpus.planted([Document("d3", "text")]):
        pass
    with pytest.raises(RuntimeError), corpus.planted(PLANTED):
        raise RuntimeError
    assert np.array_equal(corpus.view(Layout()).whole, before)
    assert len(corpus.documents) == 8


def test_documents_that_cannot_be_measured_with() -> None:
    with pytest.raises(DocumentError, match="no document"):
        CorpusVectors([Document("a", " ")], HashingEncoder(64))
    with pytest.raises(DocumentError, match="'a' comes twice"):
        CorpusVectors([Document("a", "x"), Document("a", "y")], HashingEncoder(64))


def test_progress_is_told_to_the_end() -> None:
    told: list[tuple[int, int | None]] = []
    corpus = CorpusVectors(some_documents(300), HashingEncoder(16))
    corpus.prepare([Layout(), Layout(whole=False, fragments=2)], lambda *news: told.append(news))
    assert told == [(256, 600), (300, 600), (556, 600), (600, 600)]


def test_cold_counts_what_masks_would_cost_and_warm_does_not() -> None:
    encoder = CountingEncoder()
    documents = [
        Document(str(i), f"amber word{i} " + " ".join(f"w{i}x{j}" for j in range(22))) for i in range(3)
    ]
    (chain,) = parse_chains("ragmask(span_tokens=8,breadth_factor=1)")
    corpus = CorpusVectors(documents, encoder)
    corpus.prepare([chain.layout])
    masks = WatchedMasks(encoder)
    asked = Query("amber", encoder.encode(["amber"])[0])
    warm = Searcher(chain, corpus, encoder, masks)
    warm.answer(asked, 2)
    before = len(encoder.seen)
    cost = cost_of(chain, corpus, [asked], 2, warm=warm, encoder=encoder, masks=masks)
    carried = len(encoder.seen) - before
    assert carried == cost.encodings
    assert cost.encodings_cold == carried + 2 * 3
    assert cost.build_encodings == 3
    assert cost.index_bytes == 3 * 64 * 4
