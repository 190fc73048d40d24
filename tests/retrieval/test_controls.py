from __future__ import annotations

import numpy as np
import pytest
from defense_kit import naive_scores, random_fragments, stored, unit

from mithridate.core.errors import ConfigError
from mithridate.retrieval.base import Layout, Mode
from mithridate.retrieval.controls import Concatenated, MeanOfFragments, Plain
from mithridate.retrieval.observing import bring_up
from mithridate.retrieval.ragpart import RAGPart


def test_plain_is_a_sort_by_cosine() -> None:
    vectors = random_fragments(0, 300, 1, 16)
    query = unit(np.random.default_rng(1).normal(size=16))
    cosines = vectors[:, 0] @ query
    best = int(cosines.argmax())
    index = stored(vectors, 1, whole=vectors[:, 0], dead=[best])
    found = Plain().retrieve(index, query, 20)
    cosines[best] = -2
    assert [ranked.row for ranked in found] == np.argsort(-cosines)[:20].tolist()
    assert found[0].score == pytest.approx(cosines.max(), abs=1e-6)
    assert all(ranked.reason is None for ranked in found)


def test_the_mean_of_fragments_does_not_vote() -> None:
    vectors = random_fragments(4, 200, 5, 16)
    query = unit(np.random.default_rng(2).normal(size=16))
    found = MeanOfFragments().retrieve(stored(vectors, 5), query, 10)
    (expected,) = naive_scores(vectors, 5, query)
    assert [ranked.row for ranked in found] == np.argsort(-expected)[:10].tolist()
    assert [r.row for r in RAGPart(5, 5).retrieve(stored(vectors, 5), query, 10)] == [r.row for r in found]


def test_concatenated_votes_with_the_vectors_of_rejoined_texts() -> None:
    rejoined = random_fragments(6, 80, 3, 16)
    query = unit(np.random.default_rng(3).normal(size=16))
    index = stored(rejoined, 1)
    index.concatenations = rejoined
    found = Concatenated(3, 2).retrieve(index, query, 4)
    votes = np.zeros(80, int)
    for scores in np.einsum("nkd,d->kn", rejoined, query):
        votes[np.argsort(-scores)[:4]] += 1
    means = np.einsum("nkd,d->n", rejoined, query)
    expected = sorted(range(80), key=lambda row: (-votes[row], -means[row]))[:4]
    assert [ranked.row for ranked in found] == expected
    assert Concatenated(3, 2).reasons(index, query, expected, 4) == [ranked.reason for ranked in found]
    index.alive[expected[0]] = False
    assert [ranked.row for ranked in Concatenated(3, 2).retrieve(index, query, 4)][:3] == expected[1:]


def test_what_each_needs_kept() -> None:
    assert Plain().layout == Layout(whole=True)
    assert RAGPart().layout == Layout(whole=False, fragments=5, combination=3)
    assert MeanOfFragments(4).layout == Layout(whole=False, fragments=4, combination=4)
    assert Concatenated(4, 2).layout == Layout(whole=False, fragments=4, combination=2, concatenations=True)


def test_an_index_without_what_a_control_needs() -> None:
    index, query = stored(random_fragments(0, 4, 5, 8), 3), unit(np.ones(8))
    for control in (Plain(), MeanOfFragments(), Concatenated()):
        with pytest.raises(ConfigError, match="anew"):
            control.retrieve(index, query, 2)


def test_observing_leaves_the_plain_search_as_it_is() -> None:
    vectors = random_fragments(9, 120, 5, 8)
    whole = unit(np.random.default_rng(0).normal(size=(120, 8)))
    index, query = stored(vectors, 3, whole=whole), unit(np.ones(8))
    plain = Plain().retrieve(index, query, 6)
    seen = bring_up(RAGPart(), index, query, 6, Mode.OBSERVE)
    assert [(one.row, one.score) for one in seen] == [(one.row, one.score) for one in plain]
    assert all(one.reason is not None and one.reason.defense == "ragpart" for one in seen)
    assert any(one.reason.suspicious for one in seen if one.reason)
    for mode in (Mode.DEMOTE, Mode.DROP):
        assert bring_up(RAGPart(), index, query, 6, mode) == RAGPart().retrieve(index, query, 6)
    with pytest.raises(ConfigError, match="mode='observe'"):
        bring_up(RAGPart(), stored(vectors, 3), query, 6, Mode.OBSERVE)
