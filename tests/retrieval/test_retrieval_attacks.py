from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from defense_kit import Countdown
from index_kit import some_documents
from poison_kit import BLACK_BOX, a_task, poison
from registry_kit import register

from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.core.types import Document
from mithridate.retrieval.attacks import (
    ATTACKS,
    HotFlip,
    Paraphrased,
    PoisonedRAG,
    QueryAsPoison,
    Repeated,
    RetrievalAttack,
    SpreadHotFlip,
    SpreadMatch,
    WrongContext,
    build_attack,
)
from mithridate.retrieval.attacks.spread_match import telling_words
from mithridate.retrieval.consensus import Consensus
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.fragments import fragments
from mithridate.retrieval.guard import Guard
from mithridate.retrieval.sources import open_task
from mithridate.retrieval.task import RetrievalTask

KINDS = [
    HotFlip,
    Paraphrased,
    PoisonedRAG,
    QueryAsPoison,
    Repeated,
    SpreadHotFlip,
    SpreadMatch,
    WrongContext,
]
QUESTION = "who painted the lantern of the harbour"


@dataclass(frozen=True)
class Idle:
    """A plug-in's attack."""

    name: ClassVar[str] = "idle"
    level: int = 1

    def poison(self, *_: Any, **__: Any) -> list[Document]:
        return []


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = {"counter": "collections:Counter", "idle": f"{__name__}:Idle"}
    register(monkeypatch, "mithridate.retrieval_attacks", plugins)


def test_every_attack_is_registered_under_its_name() -> None:
    assert {ATTACKS.get(kind.name) for kind in KINDS} == set(KINDS)
    assert set(ATTACKS.names()) - {"counter", "idle"} == {kind.name for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_attack_follows_the_protocol(kind: type[Any]) -> None:
    assert isinstance(build_attack(kind.name), RetrievalAttack)


def test_attacks_are_built_from_options() -> None:
    assert build_attack("repeated", {"fragments": "7"}) == Repeated(7)
    assert build_attack("hotflip", {"start": "query", "words": 3}) == HotFlip(3, start="query")
    assert build_attack("idle", {"level": 2}) == Idle(2)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("hotflop", {}, "unknown retrieval attack 'hotflop': did you mean 'hotflip'"),
        ("repeated", {"fragment": 5}, "unknown option of retrieval attack 'repeated' 'fragment': did you"),
        (
            "repeated",
            {"fragments": "many"},
            "retrieval attack 'repeated': fragments: Input should be a valid",
        ),
        ("repeated", {"fragments": 0}, "retrieval attack 'repeated': fragments is 0, but must lie between"),
        ("repeated", {"fragments": 10**9}, "must lie between 1 and 100"),
        ("hotflip", {"iterations": 0}, "iterations is 0, but must be at least 1"),
        ("hotflip", {"start": "mask"}, "start: Input should be 'random' or 'query'"),
        ("paraphrased", {"similarity": 1.5}, "a cosine lies between -1 and 1"),
        ("paraphrased", {"candidates": 0}, "candidates is 0"),
        ("spread_match", {"span_tokens": 0}, "both must be at least 1"),
        ("counter", {}, "is no retrieval attack class"),
    ],
)
def test_what_cannot_be_built(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        build_attack(name, options)
    assert isinstance(caught.value, UnknownNameError) is ("unknown" in words)


def test_planted_documents_say_what_they_are() -> None:
    planted = poison(QueryAsPoison(), a_task(), ["stone", "lantern", "stone"])
    assert [one.id for one in planted] == [
        "poison:query_as_poison:stone:0",
        "poison:query_as_poison:stone:1",
        "poison:query_as_poison:lantern:0",
        "poison:query_as_poison:lantern:1",
    ]
    assert planted[1].meta == {"attack": "query_as_poison", "query": "stone", "copy": "1"}


@pytest.mark.parametrize("attack", BLACK_BOX, ids=str)
def test_numbers_of_copies_and_queries_are_checked(attack: RetrievalAttack) -> None:
    for copies in (0, 11):
        with pytest.raises(ConfigError, match=f"copies is {copies}, but must lie between 1 and 10"):
            poison(attack, a_task(), copies=copies)
    with pytest.raises(ConfigError, match="the task has no query 'granite'"):
        poison(attack, a_task(), ["granite"])


def test_query_as_poison_takes_documents_that_do_not_answer() -> None:
    task = a_task(documents=4)
    planted = poison(QueryAsPoison(), task, copies=10)
    texts = {document.id: document.text for document in task.documents}
    # Of four documents one answers; one that was judged to be irrelevant may be taken.
    assert {one.text for one in planted} == {f"{QUESTION}. {texts[key]}" for key in ("d0", "d2", "d3")}


def test_a_query_without_a_text_gets_none() -> None:
    task = a_task()
    for attack in (WrongContext(), PoisonedRAG(), QueryAsPoison("wrong_contexts")):
        assert {one.meta["query"] for one in poison(attack, task, list(task.queries))} == {"lantern"}
    nothing = RetrievalTask((Document("d1", "the answer"), Document("d2", " ")), task.queries, task.qrels)
    assert poison(QueryAsPoison(), nothing) == []


def test_wrong_contexts_are_planted_as_they_are_and_in_their_order() -> None:
    written = a_task().wrong_contexts["lantern"]
    assert tuple(one.text for one in poison(WrongContext(), a_task(), copies=10)) == written
    assert tuple(one.text for one in poison(PoisonedRAG(with_query=False), a_task())) == written[:2]
    assert [one.text for one in poison(PoisonedRAG(), a_task())] == [
        f"{QUESTION}. {one}" for one in written[:2]
    ]


def test_blank_texts_are_not_planted() -> None:
    task = RetrievalTask((), {"q": "what"}, {}, {"q": ("", " ", "x", "y")})
    assert [(one.id, one.text) for one in poison(WrongContext(), task, ["q"], copies=3)] == [
        ("poison:wrong_context:q:0", "x")
    ]


@pytest.mark.parametrize("n", [1, 3, 5])
def test_repeated_puts_the_query_into_every_fragment(n: int) -> None:
    for one in poison(Repeated(n), a_task()):
        pieces = fragments(one.text, n)
        assert len(pieces) == n
        assert all(piece.startswith(f"{QUESTION}. ") for piece in pieces)


def test_telling_words_are_those_nearest_the_query() -> None:
    encoder = Countdown(4096)
    assert telling_words("amber amber amber lantern lantern of", encoder) == ["amber", "lantern"]
    assert telling_words("?!", encoder) == []


def test_spread_match_spreads_the_words_of_the_query() -> None:
    encoder = HashingEncoder()
    task = RetrievalTask((Document("d", "filler " * 200),), {"q": QUESTION}, {})
    (one,) = poison(SpreadMatch(span_tokens=5, carrier_words=20), task, ["q"], copies=1, encoder=encoder)
    words = one.text.split()
    planted = [i for i, word in enumerate(words) if word != "filler"]
    assert planted == [0, 5, 10, 15, 20]
    told = telling_words(QUESTION, encoder)
    assert [words[i] for i in planted] == [told[i % len(told)] for i in range(5)]
    assert words.count("filler") == 20


def test_copies_that_are_paraphrased_are_no_cluster() -> None:
    # Five pairs of texts that differ in a short word.
    texts = [f"{one.text} {tag}" for one in some_documents(5) for tag in ("a", "b")]
    documents = tuple(Document(str(i), text) for i, text in enumerate(texts))
    task, encoder = RetrievalTask(documents, {"q": QUESTION}, {}), HashingEncoder()

    def flagged(attack: Any) -> list[bool]:
        planted = poison(attack, task, ["q"], copies=10, encoder=encoder)
        return [hit.suspicious for hit in Guard([Consensus()], encoder).rerank(QUESTION, planted, 10).hits]

    assert flagged(QueryAsPoison()) == [True] * 10
    apart = flagged(Paraphrased())
    assert len(apart) >= 5
    assert not any(apart)


def test_a_copy_that_cannot_be_kept_apart_is_not_planted() -> None:
    task, encoder = RetrievalTask((Document("d", "amber " * 40),), {"q": "amber"}, {}), Countdown(4096)
    assert len(poison(Paraphrased(similarity=-1), task, ["q"], copies=5, encoder=encoder)) == 1


@pytest.mark.parametrize("kind", [HotFlip, SpreadHotFlip])
@pytest.mark.parametrize("encoder", [HashingEncoder(), Countdown()], ids=["hashing", "countdown"])
def test_gradients_need_a_model(kind: type[Any], encoder: Any) -> None:
    with pytest.raises(ConfigError, match=f"attack '{kind.name}' follows gradients, which encoder '.*' does"):
        poison(kind(), a_task(), encoder=encoder)


def test_attacks_are_imported_without_torch() -> None:
    code = """
import sys
for name in ("torch", "transformers", "sentence_transformers"):
    sys.modules[name] = None  # importing it fails
import numpy as np
from mithridate.core.types import Document
from mithridate.retrieval import HashingEncoder, RetrievalTask, attacks
task = RetrievalTask((Document("d", "a stone"),), {"q": "river"}, {})
rng = np.random.default_rng(0)
assert attacks.QueryAsPoison().poison(task, ["q"], rng, copies=1, encoder=HashingEncoder())
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


@pytest.mark.shared_data
def test_real_wrong_contexts(shared_data: Path) -> None:
    realtime = open_task(shared_data / "retrieval" / "realtimeqa.json")
    planted = poison(PoisonedRAG(), realtime, list(realtime.queries), copies=10)
    assert len(planted) == 500
    first = planted[0]
    assert first.text.startswith(f"{realtime.queries[first.meta['query']]}. ")


@pytest.mark.shared_data
def test_texts_of_poisonedrag_meet_the_queries_of_another_corpus(shared_data: Path) -> None:
    file = shared_data / "retrieval" / "poisonedrag_nq.json"
    (key, question), *_ = open_task(file).queries.items()
    texts = json.loads(file.read_text())[key]["adv_texts"]
    task = RetrievalTask((Document("d", "x"),), {"own": question.upper() + "?", "other": "why"}, {})
    planted = poison(PoisonedRAG(str(file), with_query=False), task, ["own", "other"], copies=5)
    assert [one.text for one in planted] == texts
    assert {one.meta["query"] for one in planted} == {"own"}
