from __future__ import annotations

import math
from typing import Any

import pytest
from defense_kit import Countdown, hits_of, ids, query, suspects

from mithridate.core.errors import ConfigError
from mithridate.core.types import Document
from mithridate.retrieval.base import Hit
from mithridate.retrieval.encodings import Encodings
from mithridate.retrieval.ragmask import RAGMask, published

QUESTION = "who painted the lantern of the harbour"
POISON = QUESTION + " copper falcon meadow barley glacier quarry ember saffron tundra walnut cinder heron"
HONEST = (
    "lantern compass velvet painted pepper anchor willow beacon harbour who clover marble thistle orchard "
    "harbour barley lantern painted heron walnut ember violin copper"
)
OTHERS = ["river stone amber orchard violin thistle copper", "the harbour of amber", "who knows"]


def found(
    defense: RAGMask, texts: list[str], top_k: int = 1, *, vectors: bool = True
) -> tuple[list[Hit], Encodings]:
    encoder = Countdown()
    asked = query(encoder, QUESTION)
    encodings = Encodings(encoder)
    return defense.rerank(asked, hits_of(encoder, asked, texts, vectors=vectors), top_k, encodings), encodings


def test_a_match_in_one_span_is_taken_out() -> None:
    defense = RAGMask(delta=0.2)
    encoder = Countdown()
    asked = query(encoder, QUESTION)
    hits = hits_of(encoder, asked, [POISON, HONEST])
    assert ids(hits) == ["0", "1"]
    honest, planted = defense.rerank(asked, hits, 1, Encodings(encoder))
    assert (honest.document.id, planted.document.id) == ("1", "0")
    assert (honest.suspicious, planted.suspicious) == (False, True)
    (reason,) = planted.reasons
    (carrier,) = reason.evidence["carriers"]
    assert POISON[slice(*carrier)].startswith(QUESTION)
    assert reason.evidence["spans"] == 3
    assert reason.says.startswith("1 of 3 spans carry the match: similarity 0.")
    assert planted.score == pytest.approx(reason.evidence["similarity_left"])
    assert planted.document.text == POISON


def test_a_warm_query_encodes_nothing_and_a_new_one_only_what_is_left() -> None:
    encoder = Countdown()
    encodings = Encodings(encoder)
    asked = query(encoder, QUESTION)
    hits = hits_of(encoder, asked, [POISON, HONEST, *OTHERS])
    defense = RAGMask(delta=0.1, breadth_factor=5)
    defense.rerank(asked, hits, 1, encodings)
    cold = encodings.count
    encodings.reset()
    defense.rerank(asked, hits, 1, encodings)
    assert encodings.count == 0
    defense.rerank(query(encoder, "copper falcon meadow barley glacier"), hits, 1, encodings)
    assert encodings.count <= 5 < cold


def test_an_infinite_delta_changes_nothing() -> None:
    encoder = Countdown()
    asked = query(encoder, QUESTION)
    hits = hits_of(encoder, asked, [POISON, HONEST, *OTHERS])
    after = RAGMask(delta=math.inf).rerank(asked, hits, 3, Encodings(encoder))
    assert ids(after) == ids(hits)
    assert [hit.score for hit in after] == [hit.score for hit in hits]
    assert not suspects(after)


def test_a_document_that_loses_every_span_comes_last_with_nothing() -> None:
    texts = [QUESTION, HONEST, "unrelated words altogether"]
    after, _ = found(RAGMask(delta=0.05, breadth_factor=3), texts)
    assert after[-1].document.id == "0"
    assert after[-1].score <= 0
    assert suspects(after) >= {"0"}
    assert after[-1].reasons[0].evidence["similarity_left"] == 0


def test_a_fall_of_exactly_delta_is_enough() -> None:
    for delta, suspicious in ((0.0, True), (1e-9, False)):
        (hit,), _ = found(RAGMask(2, delta), ["harbour harbour harbour harbour"])
        assert hit.suspicious is suspicious


def test_an_order_that_is_not_by_similarity_is_kept() -> None:
    encoder = Countdown()
    asked = query(encoder, QUESTION)
    texts = [HONEST, "the harbour of amber", POISON, "painted walls of the harbour"]
    hits = [Hit(Document(str(i), text), 100.0 - i) for i, text in enumerate(texts)]
    after = RAGMask(delta=math.inf, breadth_factor=4).rerank(asked, hits, 1, Encodings(encoder))
    assert ids(after) == ["0", "1", "2", "3"]
    after = RAGMask(delta=0.25, breadth_factor=4).rerank(asked, hits, 1, Encodings(encoder))
    assert [hit for hit in ids(after) if hit not in suspects(after)] == sorted(
        set(ids(after)) - suspects(after)
    )
    assert "2" in suspects(after)
    assert [hit.score for hit in after] == sorted((hit.score for hit in after), reverse=True)


def test_hits_beyond_the_breadth_are_not_looked_at() -> None:
    after, encodings = found(
        RAGMask(delta=0.05, breadth_factor=2), [HONEST, *OTHERS, POISON], 1, vectors=False
    )
    assert len(after) == 5
    assert all("too far behind" in hit.reasons[0].says for hit in after[2:])
    assert not suspects(after[2:])
    assert encodings.count < 12


def test_blank_and_one_word_documents_pass_through() -> None:
    after, _ = found(RAGMask(breadth_factor=9), ["", " ", "word", "harbour", HONEST], vectors=False)
    assert sorted(ids(after)) == ["0", "1", "2", "3", "4"]
    assert RAGMask().rerank(query(Countdown(), "x"), [], 3, Encodings(Countdown())) == []


def test_the_published_form_ranks_alike_and_encodes_every_time() -> None:
    encoder = Countdown()
    asked = query(encoder, QUESTION)
    hits = hits_of(encoder, asked, [POISON, HONEST, *OTHERS], vectors=False)
    defense = RAGMask(delta=0.1)
    before = encoder.encoded
    plain, count = published(defense, asked, hits, 2, encoder)
    assert encoder.encoded - before == count
    assert published(defense, asked, hits, 2, encoder)[1] == count
    ours = defense.rerank(asked, hits, 2, Encodings(encoder))[:4]
    assert ids(ours) == ids(plain)
    assert [hit.score for hit in ours] == pytest.approx([hit.score for hit in plain])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delta": -0.1}, "0 or more"),
        ({"delta": math.nan}, "0 or more"),
        ({"breadth_factor": 0}, "at least 1"),
        ({"stride": 99}, "would never be masked"),
        ({"form": "shuffle"}, "'delete' or 'mask'"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RAGMask(**options)
