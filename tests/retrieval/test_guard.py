from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
from defense_kit import Countdown, flagged, hits_of, ids, query, suspects

from mithridate.core.errors import ConfigError, EncoderError, QueryError, UnknownNameError
from mithridate.core.types import Document
from mithridate.retrieval.base import Hit, Mode, Query, Reason
from mithridate.retrieval.consensus import Consensus
from mithridate.retrieval.encodings import Encodings
from mithridate.retrieval.guard import Answer, Guard, assemble
from mithridate.retrieval.masked_vectors import MaskedVectors
from mithridate.retrieval.ragmask import RAGMask
from mithridate.retrieval.ranking import demoted

TEXTS = ["river stone", "river river river", "harbour", "stone amber", "river"]


@dataclass(frozen=True)
class Suspects:
    """Suspects the documents whose text holds a word."""

    name: ClassVar[str] = "suspects"
    word: str
    wants: int = 7

    def breadth(self, top_k: int) -> int:
        return self.wants

    def rerank(self, query: Query, hits: Sequence[Hit], top_k: int, encodings: Encodings) -> list[Hit]:
        return demoted(
            hits,
            [Reason(self.name, self.word in hit.document.text, f"looked for {self.word}") for hit in hits],
        )


def hits(*scores: float) -> list[Hit]:
    return [Hit(Document(str(i), TEXTS[i]), score) for i, score in enumerate(scores)]


def answer(mode: str, *, floor: int = 1, top_k: int = 2, word: str = "river") -> Answer:
    guard = Guard([Suspects(word)], Countdown(), mode=mode, floor=floor)
    return guard.rerank("river", hits(0.9, 0.8, 0.7, 0.6, 0.5), top_k)


def test_observing_says_and_does_nothing() -> None:
    found = answer("observe", top_k=3)
    assert [(hit.document.id, hit.score) for hit in found.hits] == [("0", 0.9), ("1", 0.8), ("2", 0.7)]
    assert [hit.suspicious for hit in found.hits] == [True, True, False]
    assert found.removed == ()
    assert found.warnings == ()


def test_demoting_takes_the_order_of_the_defence() -> None:
    found = answer("demote", top_k=4)
    assert ids(found.hits) == ["2", "3", "0", "1"]
    assert [hit.score for hit in found.hits] == [0.7, 0.6, 0.6, 0.6]
    assert found.removed == ()


def test_dropping_leaves_out_what_looks_planted() -> None:
    found = answer("drop", top_k=4)
    assert ids(found.hits) == ["2", "3"]
    assert ids(found.removed) == ["0", "1", "4"]
    assert found.warnings == ()


def test_a_floor_brings_the_best_back_at_the_end_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mithridate.retrieval"):
        found = answer("drop", floor=3, top_k=4)
    assert ids(found.hits) == ["2", "3", "0"]
    assert [hit.suspicious for hit in found.hits] == [False, False, True]
    assert ids(found.removed) == ["1", "4"]
    assert found.warnings == (
        "3 of 5 hits look planted; 1 of them came back, because an answer shall have at least 3",
    )
    assert found.warnings[0] in caplog.text


def test_a_floor_above_the_answer_or_above_what_there_is() -> None:
    assert ids(answer("drop", floor=9, top_k=1).hits) == ["2"]
    assert ids(answer("drop", floor=9, top_k=1, word="").hits) == ["0"]
    assert len(answer("drop", floor=9, top_k=9, word="").hits) == 5


def test_an_empty_answer_is_never_silent() -> None:
    everything = answer("drop", floor=0, word="")
    assert everything.hits == ()
    assert everything.warnings == ("the answer is empty: all 5 hits look planted",)
    nothing = Guard([], Countdown()).rerank("river", [], 3)
    assert nothing.warnings == ("nothing was found",)


def test_texts_and_documents_are_scored_by_similarity_and_keep_their_order() -> None:
    guard = Guard([], Countdown())
    from_texts = guard.rerank("river", TEXTS, 5)
    assert [hit.document.text for hit in from_texts.hits] == TEXTS
    assert ids(from_texts.hits) == ["0", "1", "2", "3", "4"]
    observed = Guard([], Countdown(), mode="observe").rerank("river", TEXTS, 5)
    assert ids(observed.hits) == ["0", "1", "2", "3", "4"]
    lowest = observed.hits[2].score
    assert lowest == pytest.approx(0, abs=0.3)
    assert observed.hits[4].score <= lowest  # the text is the query, and stands last all the same
    documents = [Document("same", text, {"page": "1"}) for text in TEXTS]
    from_documents = guard.rerank("river", documents, 5)
    assert [hit.document for hit in from_documents.hits] == documents
    assert from_texts.encodings == 5
    assert from_documents.encodings == 0  # remembered


def test_one_document_twice_among_the_hits_is_two_hits() -> None:
    document = Document("a", "river stone")
    for mode in Mode:
        found = Guard([Consensus()], Countdown(), mode=mode, floor=2).rerank("river", [document, document], 2)
        assert len(found.hits) == 2
        assert suspects(found.hits) == {"a"}


def test_what_is_found_of_one_of_them_is_not_said_of_the_other() -> None:
    class Last(Suspects):
        def rerank(self, query: Query, hits: Sequence[Hit], top_k: int, encodings: Encodings) -> list[Hit]:
            return [*(flagged(hit, False) for hit in hits[:-1]), flagged(hits[-1])]

    document = Document("a", "river stone")
    for twice in ([document] * 2, [Hit(document, 0.9)] * 2):
        found = Guard([Last("")], Countdown(), mode="observe").rerank("river", twice, 2)
        assert [hit.suspicious for hit in found.hits] == [False, True]


def test_scores_that_rise_are_cut_in_every_mode() -> None:
    rising = hits(0.5, 0.9, 0.3)
    for mode in Mode:
        found = assemble(rising, rising, mode=mode, floor=1, top_k=3)
        assert [hit.score for hit in found.hits] == [0.5, 0.5, 0.3]


def test_defences_compose_and_share_what_is_encoded() -> None:
    encoder = Countdown()
    guard = Guard([RAGMask(span_tokens=2), Consensus(), Suspects("harbour")], encoder, mode=Mode.OBSERVE)
    before = encoder.encoded
    found = guard.rerank("river", TEXTS, 3)
    assert encoder.encoded - before == found.encodings + 1  # and the query
    assert [[reason.defense for reason in hit.reasons] for hit in found.hits] == [
        ["ragmask", "consensus", "suspects"]
    ] * 3
    assert guard.rerank("river", TEXTS, 3).encodings == 0
    assert guard.breadth(3) == 7
    assert guard.breadth(10) == 20


def test_the_caches_may_be_given() -> None:
    encoder = Countdown()
    masked = MaskedVectors(encoder)
    Guard([RAGMask(span_tokens=2)], encoder, masked=masked).rerank("river", TEXTS, 3)
    assert len(masked) == 5
    with pytest.raises(EncoderError, match="a cache of its own"):
        Guard([], Countdown(64), masked=masked)


def test_a_query_may_come_with_its_vector() -> None:
    encoder = Countdown()
    guard = Guard([], encoder)
    asked = query(encoder, "river")
    before = encoder.encoded
    assert ids(guard.rerank(asked, hits(0.5, 0.4), 2).hits) == ["0", "1"]
    assert encoder.encoded == before
    with pytest.raises(EncoderError, match="the query's vector has the shape"):
        guard.rerank(Query("river", np.ones(3, np.float32)), hits(0.5), 1)


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_empty_query(text: str) -> None:
    with pytest.raises(QueryError, match="the query is empty"):
        Guard([], Countdown()).rerank(text, TEXTS, 1)


def test_settings_and_hits_that_cannot_be() -> None:
    with pytest.raises(QueryError, match="top_k is 0"):
        Guard([], Countdown()).rerank("river", TEXTS, 0)
    with pytest.raises(ConfigError, match="cannot be negative"):
        Guard([], Countdown(), floor=-1)
    with pytest.raises(UnknownNameError, match="unknown mode 'dropp': did you mean 'drop'"):
        Guard([], Countdown(), mode="dropp")
    bad: Any = [3]
    with pytest.raises(ConfigError, match="hit 0 is a int"):
        Guard([], Countdown()).rerank("river", bad, 1)


def test_a_reranker_that_loses_a_hit_or_makes_one_up() -> None:
    class Loses(Suspects):
        def rerank(self, query: Query, hits: Sequence[Hit], top_k: int, encodings: Encodings) -> list[Hit]:
            return list(hits[1:])

    class Invents(Suspects):
        def rerank(self, query: Query, hits: Sequence[Hit], top_k: int, encodings: Encodings) -> list[Hit]:
            return [replace(hit, document=Document(hit.document.id, "new")) for hit in hits]

    for reranker in (Loses("x"), Invents("x")):
        with pytest.raises(ConfigError, match="must return every hit once"):
            Guard([reranker], Countdown()).rerank("river", TEXTS, 2)


def test_reasons_that_hits_came_with_count() -> None:
    given = [flagged(hit) if hit.document.id == "0" else hit for hit in hits(0.9, 0.8)]
    found = assemble(given, given, mode=Mode.DROP, floor=1, top_k=2, encodings=4)
    assert ids(found.hits) == ["1"]
    assert ids(found.removed) == ["0"]
    assert found.encodings == 4


def test_what_is_given_is_not_changed() -> None:
    given = hits(0.9, 0.8, 0.7)
    before = list(given)
    Guard([Suspects("river")], Countdown(), mode="drop").rerank("river", given, 2)
    assert given == before
    assert all(not hit.reasons for hit in given)


def test_many_threads_get_what_one_gets() -> None:
    encoder = Countdown()
    guard = Guard([RAGMask(span_tokens=2, breadth_factor=5), Consensus()], encoder)
    questions = [f"{word} {number}" for word in ("river", "stone", "harbour") for number in range(4)]
    alone = [Guard(guard.rerankers, Countdown()).rerank(question, TEXTS, 3).hits for question in questions]
    with ThreadPoolExecutor(8) as pool:
        together = [found.hits for found in pool.map(lambda q: guard.rerank(q, TEXTS, 3), questions)]
    assert [[(h.document, h.score, h.reasons) for h in one] for one in together] == [
        [(h.document, h.score, h.reasons) for h in one] for one in alone
    ]


def test_surrogates_and_control_characters_pass() -> None:
    texts = ["half \ud800 a character", "nul \x00 byte", "\x1b[31mred", "毒" * 50, ""]
    for mode in Mode:
        found = Guard([RAGMask(), Consensus()], Countdown(), mode=mode).rerank("red \udfff", texts, 3)
        assert found.hits


def test_hits_of_a_store_are_scored_alike_with_and_without_vectors() -> None:
    encoder = Countdown()
    asked = query(encoder, "river stone")
    guard = Guard([RAGMask(span_tokens=2)], encoder)
    with_vectors, without = (
        guard.rerank(asked, hits_of(encoder, asked, TEXTS, vectors=vectors), 3) for vectors in (True, False)
    )
    assert [(hit.document.id, hit.score) for hit in with_vectors.hits] == [
        (hit.document.id, hit.score) for hit in without.hits
    ]


def test_hits_with_vectors_can_be_compared() -> None:
    vector = np.ones(4, np.float32) / 2
    one, other = (Hit(Document("a", "river"), 0.5, vector=vector * sign) for sign in (1, -1))
    assert one == other
    assert one != replace(one, score=0.4)
    assert Query("river", vector) != Query("harbour", vector)
