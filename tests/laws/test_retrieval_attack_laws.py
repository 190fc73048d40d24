"""What must hold for every attack on retrieval, whatever is attacked with it."""

from __future__ import annotations

import numpy as np
from defense_kit import Countdown
from hypothesis import given, settings
from hypothesis import strategies as st
from poison_kit import BLACK_BOX, a_task, poison

from mithridate.core.types import Document
from mithridate.retrieval.attacks import Paraphrased, Repeated, RetrievalAttack, SpreadMatch
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.fragments import fragments
from mithridate.retrieval.masking import Masking
from mithridate.retrieval.task import RetrievalTask

SOME = settings(max_examples=60, deadline=None)
FEW = settings(max_examples=25, deadline=None)

TASK = a_task()
QUERIES = sorted(TASK.queries)
attacks = st.sampled_from(BLACK_BOX)
seeds = st.integers(0, 10_000)
words = st.lists(st.text("abcdefgh", min_size=1, max_size=9), min_size=1, max_size=60)


@FEW
@given(attack=attacks, queries=st.permutations(QUERIES), copies=st.integers(1, 10), seed=seeds)
def test_one_state_of_chance_gives_one_poison(
    attack: RetrievalAttack, queries: list[str], copies: int, seed: int
) -> None:
    planted = poison(attack, TASK, queries, copies=copies, seed=seed)
    assert planted == poison(attack, TASK, queries, copies=copies, seed=seed)
    assert len({document.id for document in planted}) == len(planted)
    for query in queries:
        own = [document for document in planted if document.meta["query"] == query]
        assert len(own) <= copies
        for number, document in enumerate(own):
            assert document.id == f"poison:{attack.name}:{query}:{number}"
            assert document.meta == {"attack": attack.name, "query": query, "copy": str(number)}
            assert document.text.strip()


@FEW
@given(attack=attacks, query=st.sampled_from(QUERIES), seed=seeds)
def test_a_query_is_attacked_alike_whatever_else_is(attack: RetrievalAttack, query: str, seed: int) -> None:
    alone = poison(attack, TASK, [query], seed=seed)
    among = poison(attack, TASK, QUERIES[::-1], seed=seed)
    assert alone == [document for document in among if document.meta["query"] == query]


@FEW
@given(attack=attacks, copies=st.integers(1, 9), seed=seeds)
def test_more_copies_are_further_copies(attack: RetrievalAttack, copies: int, seed: int) -> None:
    fewer = poison(attack, TASK, QUERIES, copies=copies, seed=seed)
    more = poison(attack, TASK, QUERIES, copies=10, seed=seed)
    assert fewer == [document for document in more if int(document.meta["copy"]) < copies]


@SOME
@given(text=words, query=words, n=st.integers(1, 7))
def test_every_fragment_of_repeated_poison_begins_with_the_query(
    text: list[str], query: list[str], n: int
) -> None:
    asked = " ".join(query)
    task = RetrievalTask((Document("d", " ".join(text)),), {"q": asked}, {})
    (one,) = poison(Repeated(n), task, ["q"], copies=1)
    assert all(piece.startswith(f"{asked}. ") for piece in fragments(one.text, n))


@SOME
@given(
    text=words, query=st.lists(st.text("UVWXYZ-", min_size=1, max_size=9), max_size=6), m=st.integers(1, 9)
)
def test_no_span_holds_two_words_of_a_spread_match(text: list[str], query: list[str], m: int) -> None:
    encoder = Countdown()
    task = RetrievalTask((Document("d", " ".join(text)),), {"q": " ".join(query)}, {})
    for one in poison(SpreadMatch(m), task, ["q"], copies=1, encoder=encoder):
        tokens = [one.text[start:end] for start, end in encoder.token_spans(one.text)]
        for first, last in Masking(m, 1, most_spans=10_000).token_ranges(len(tokens)):
            assert sum(not token.islower() for token in tokens[first:last]) <= 1


@FEW
@given(seed=seeds, similarity=st.floats(0, 1), documents=st.integers(1, 6), copies=st.integers(1, 10))
def test_no_two_paraphrased_copies_are_near(
    seed: int, similarity: float, documents: int, copies: int
) -> None:
    encoder, task = HashingEncoder(), a_task(documents, words=12)
    planted = poison(Paraphrased(similarity), task, ["amber"], copies=copies, seed=seed, encoder=encoder)
    assert planted
    rows = encoder.encode([document.text for document in planted])
    cosines = (rows @ rows.T)[~np.eye(len(rows), dtype=bool)]
    assert not len(cosines) or cosines.max() < similarity
