"""Laws of scrubbing: what a ranking may depend on, and what a share removes."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrub_kit import belief_material, clean_documents, hinted, hinting_documents, stated, stating_documents

from mithridate.core.types import Document
from mithridate.retrieval.encoders.hashing import HashingEncoder
from mithridate.scrubbing.beliefs import other_beliefs, planted_beliefs
from mithridate.scrubbing.order import draws, first_to_go
from mithridate.scrubbing.ranker import Ranker
from mithridate.scrubbing.rankers.chance import Chance
from mithridate.scrubbing.rankers.classifier import StatementClassifier
from mithridate.scrubbing.rankers.mention import Mention
from mithridate.scrubbing.rankers.similarity import Similarity
from mithridate.scrubbing.rankers.string import StatedIn

MATERIAL = belief_material()
KNOWN = [*planted_beliefs(stated(), MATERIAL), *planted_beliefs(hinted(), MATERIAL)]
DOCUMENTS = [*clean_documents(30), *stating_documents(), *hinting_documents(20)]
CLEAN = [document.text for document in clean_documents(60, seed=1)]


def rankers(at_once: int) -> list[Ranker]:
    others = other_beliefs(stated(), MATERIAL)
    return [
        StatedIn(),
        Mention(),
        Chance(7),
        Similarity(HashingEncoder(), at_once),
        StatementClassifier(others, CLEAN, 0, at_once),
    ]


@pytest.mark.parametrize("number", range(5))
def test_neither_order_nor_batches_change_what_goes_first(number: int) -> None:
    whole = rankers(1000)[number].scores(DOCUMENTS, KNOWN)
    shuffled = random.Random(0).sample(range(len(DOCUMENTS)), len(DOCUMENTS))
    again = rankers(7)[number].scores([DOCUMENTS[n] for n in shuffled], KNOWN)
    np.testing.assert_allclose(again, whole[shuffled], atol=1e-6)
    one = first_to_go(whole, draws(1, DOCUMENTS), 0.4)
    other = first_to_go(again, draws(1, [DOCUMENTS[n] for n in shuffled]), 0.4)
    assert [DOCUMENTS[n] for n in one] == [DOCUMENTS[shuffled[n]] for n in other]


@given(
    scores=st.lists(st.sampled_from([0.0, 0.5, 1.0]) | st.floats(-5, 5), min_size=1, max_size=40),
    less=st.floats(0, 1),
    more=st.floats(0, 1),
)
def test_a_larger_share_removes_all_that_a_smaller_one_does(
    scores: list[float], less: float, more: float
) -> None:
    less, more = sorted((less, more))
    ties = draws(3, [Document(str(n), "") for n in range(len(scores))])
    few, many = (first_to_go(np.array(scores), ties, share).tolist() for share in (less, more))
    assert many[: len(few)] == few
    assert len(few) == round(less * len(scores)) and len(set(many)) == len(many)
    kept = [scores[n] for n in range(len(scores)) if n not in few]
    assert not few or not kept or min(scores[n] for n in few) >= max(kept) - 1e-5


@given(st.lists(st.floats(-5, 5), max_size=20))
def test_no_share_removes_nothing(scores: list[float]) -> None:
    assert len(first_to_go(np.array(scores), np.zeros(len(scores)), 0.0)) == 0
