from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from defense_kit import random_fragments, stored, unit

from mithridate.core.errors import ConfigError
from mithridate.retrieval.ragpart import RAGPart, poisoned_combinations

QUERY = unit(np.array([1.0, 0, 0, 0]))


def near(*cosines: float) -> np.ndarray:
    """A document whose fragments have these cosines with QUERY and are otherwise orthogonal to it."""
    return unit(np.array([[c, np.sqrt(1 - c * c), 0, 0] for c in cosines]))


@pytest.mark.parametrize(
    ("n", "k", "tolerated"), [(5, 3, 2), (5, 5, 1), (5, 4, 1), (5, 1, 2), (1, 1, 0), (7, 3, 3), (10, 5, 2)]
)
def test_what_a_setting_tolerates(n: int, k: int, tolerated: int) -> None:
    assert RAGPart(n, k).tolerates() == tolerated


@pytest.mark.parametrize("n", range(1, 9))
def test_poisoned_combinations_by_brute_force(n: int) -> None:
    for k in range(1, n + 1):
        needed = 2 if k > 1 else 1
        for poisoned in range(n + 1):
            bad = set(range(poisoned))
            counted = sum(len(bad & set(chosen)) >= needed for chosen in combinations(range(n), k))
            assert poisoned_combinations(n, k, poisoned) == counted
        tolerated = RAGPart(n, k).tolerates()
        halves = [
            2 * poisoned_combinations(n, k, p) < len(list(combinations(range(n), k))) for p in range(n + 1)
        ]
        assert all(halves[: tolerated + 1])
        assert tolerated == n or not halves[tolerated + 1]


def test_one_poisoned_fragment_is_outvoted() -> None:
    honest = near(0.6, 0.6, 0.6, 0.6, 0.6)
    planted = near(0.99, 0.1, 0.1, 0.1, 0.1)  # nearest of all in one fragment, off the topic in the others
    index = stored(np.stack([planted, honest]), 3)
    first, second = RAGPart().retrieve(index, QUERY, 2)
    assert (first.row, second.row) == (1, 0)
    (only,) = RAGPart().retrieve(index, QUERY, 1)
    assert only.row == 1
    assert only.reason is not None
    assert only.reason.says == "10 of 10 combinations of its fragments voted for it"
    assert only.reason.evidence["votes"] == 10
    assert only.score == pytest.approx(0.6, abs=1e-6)


def four_to_six() -> Any:
    """Row 0 wins the six combinations that hold its first fragment, row 1 the other four."""
    return stored(np.stack([near(0.9, 0.5, 0.5, 0.5, 0.5), near(0.55, 0.55, 0.55, 0.55, 0.55)]), 3)


def test_the_vote_decides_who_is_suspicious_and_not_the_order() -> None:
    index = four_to_six()
    for vote, suspicious in (("majority", [False, True]), ("intersection", [True, True])):
        found = RAGPart(vote=vote, per_vote=1).retrieve(index, QUERY, 2)
        assert [ranked.row for ranked in found] == [0, 1]
        assert [ranked.reason.evidence["votes"] for ranked in found if ranked.reason] == [6, 4]
        assert [ranked.reason.suspicious for ranked in found if ranked.reason] == suspicious


def test_a_tie_goes_to_the_mean_and_then_to_the_row() -> None:
    rows = np.stack([near(0.3, 0.3), near(0.7, 0.7), near(0.3, 0.3), near(0.7, 0.7)])
    found = RAGPart(2, 1).retrieve(stored(rows, 1), QUERY, 4)
    assert [ranked.row for ranked in found] == [1, 3, 0, 2]


def test_scores_fall_with_rank_where_votes_and_means_disagree() -> None:
    # Row 0 has the greatest mean and wins two of the five fragments; row 1 is ahead of it in three.
    rows = np.stack([near(0.99, 0.99, 0.2, 0.2, 0.2), near(0.4, 0.4, 0.4, 0.4, 0.4)])
    found = RAGPart(5, 1, per_vote=1).retrieve(stored(rows, 1), QUERY, 2)
    assert [ranked.row for ranked in found] == [1, 0]
    means = [ranked.reason.evidence["similarity"] for ranked in found if ranked.reason]
    assert means[1] > means[0]
    assert found[1].score == found[0].score == pytest.approx(0.4, abs=1e-6)


def test_rows_without_a_vote_fill_up_what_is_missing() -> None:
    index = stored(random_fragments(3, 40, 5, 8), 3)
    found = RAGPart(per_vote=1).retrieve(index, unit(np.ones(8)), 30)
    assert len({ranked.row for ranked in found}) == 30
    votes = [ranked.reason.evidence["votes"] for ranked in found if ranked.reason]
    assert votes == sorted(votes, reverse=True)
    assert votes[-1] == 0
    assert sum(votes) == 10


def test_deleted_rows_and_a_top_beyond_the_corpus() -> None:
    vectors = random_fragments(1, 12, 5, 8)
    query = unit(np.ones(8))
    dead = [ranked.row for ranked in RAGPart().retrieve(stored(vectors, 3), query, 4)]
    found = [ranked.row for ranked in RAGPart().retrieve(stored(vectors, 3, dead=dead), query, 100)]
    assert sorted(found) == sorted(set(range(12)) - set(dead))
    assert RAGPart().retrieve(stored(vectors, 3, dead=range(12)), query, 3) == []
    assert RAGPart().retrieve(stored(vectors[:0], 3), query, 3) == []


def test_reasons_for_any_rows_are_those_of_the_search() -> None:
    vectors, query = stored(random_fragments(2, 60, 5, 8), 3), unit(np.ones(8))
    found = {ranked.row: ranked.reason for ranked in RAGPart().retrieve(vectors, query, 5)}
    rows = [7, *found]
    reasons = RAGPart().reasons(vectors, query, rows, 5)
    assert reasons[1:] == [found[row] for row in rows[1:]]
    assert reasons[0] is not None
    assert reasons[0].suspicious is (reasons[0].evidence["votes"] < 5)


def test_an_index_laid_out_for_something_else_is_refused() -> None:
    vectors, query = random_fragments(0, 6, 5, 8), unit(np.ones(8))
    for wrong, asked in ((RAGPart(5, 4), query), (RAGPart(4, 3), query), (RAGPart(), query[:7])):
        with pytest.raises(ConfigError, match="build it anew"):
            wrong.retrieve(stored(vectors, 3), asked, 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"combination": 6}, "between 1 and"),
        ({"fragments": 40, "combination": 20}, "at most 10000"),
        ({"vote": "plurality"}, "'majority' or 'intersection'"),
        ({"per_vote": 0}, "at least 1"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RAGPart(**options)


def test_fragments_that_cancel_out_are_like_nothing() -> None:
    cancelling = unit(np.array([[1.0, 1, 0, 0], [-1, -1, 0, 0]]))
    index = stored(np.stack([cancelling, near(0.1, 0.1)]), 2)
    first, second = RAGPart(2, 2).retrieve(index, QUERY, 2)
    assert (first.row, second.row) == (1, 0)
    assert second.score == pytest.approx(0, abs=1e-6)
