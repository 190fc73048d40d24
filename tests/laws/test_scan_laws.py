"""What must hold for every corpus that is scanned."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mithridate.core.types import Document
from mithridate.retrieval.base import Vectors
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.scan_texts import leading_question, questions

SOME = settings(max_examples=60, deadline=None)
# Few words and few places to hash them into: many similarities are equal, and must not count as nearer.
ENCODER = HashingEncoder(8)
WORDS = ("river", "stone", "amber", "lantern")

openings = st.sampled_from(("", "Where is the river? ", "What is amber stone? ", "who saw a lantern. "))
endings = st.lists(st.sampled_from(WORDS), min_size=8, max_size=12).map(" ".join)
corpora = st.lists(st.tuples(openings, endings).map("".join), min_size=1, max_size=12)


def nearer_one_by_one(texts: list[str], whole: Vectors) -> dict[int, float]:
    """By document, the share of the others that are nearer to its question than its own rest is."""
    shares = {}
    for row, text in enumerate(texts):
        if split := leading_question(text):
            asking, rest = ENCODER.encode([split[0]])[0], ENCODER.encode([split[1]])[0]
            near = [round(float(np.dot(one.astype(float), asking)), 6) for one in whole]
            own, others = round(float(np.dot(rest.astype(float), asking)), 6), [*near[:row], *near[row + 1 :]]
            shares[row] = sum(one > own for one in others) / len(others) if others else 0.0
    return shares


@SOME
@given(corpora, st.sampled_from((0.0, 0.05, 0.5)))
def test_questions_are_compared_with_every_other_document(texts: list[str], share: float) -> None:
    whole = ENCODER.encode(texts)
    found = questions([Document(str(i), text) for i, text in enumerate(texts)], whole, ENCODER, share)
    told = {one.row: one.evidence["nearer"] for one in found if one.rule == "leading-question"}
    expected = nearer_one_by_one(texts, whole)
    assert told == expected
    warned = [one.row for one in found if one.rule == "question-unlike-rest"]
    assert warned == [row for row, nearer in expected.items() if nearer > share]
