from __future__ import annotations

import itertools

import numpy as np
import pytest
from curation_kit import pool_of, unit_grid

from mithridate.core.errors import UnknownNameError
from mithridate.curation.methods import METHODS, method_named
from mithridate.curation.methods.complexity_quality import ComplexityQualityOptions
from mithridate.curation.methods.diverse import DiverseOptions, k_centre
from mithridate.curation.methods.facility import FacilityOptions, lazy_greedy
from mithridate.curation.pool import shares
from mithridate.curation.vectors import nearest, squared_distances


@pytest.mark.parametrize("rows", [40, 3000])
def test_lazy_k_centre_is_k_centre(rows: int) -> None:
    vectors = unit_grid(np.random.default_rng(rows).normal(size=(rows, 8)))
    found, apart, squared = k_centre(vectors, 40)
    plain = vectors.astype(np.float32)
    wanted, distances = [0], squared_distances(plain, plain[:1])[:, 0]
    for _ in range(39):
        distances[wanted] = -1
        wanted.append(int(distances.argmax()))
        distances = np.minimum(distances, squared_distances(plain, plain[wanted[-1:]])[:, 0])
    distances[wanted] = 0
    assert found.tolist() == wanted
    assert (squared == distances).all()
    assert (np.diff(apart[1:]) <= 0).all()


def test_k_centre_takes_all_of_what_is_all_alike() -> None:
    assert sorted(k_centre(unit_grid([[1, 2]] * 5), 5)[0].tolist()) == [0, 1, 2, 3, 4]


def plain_value(vectors: np.ndarray, chosen: list[int]) -> float:
    rows = vectors.astype(np.float64)
    return float(np.maximum(rows @ rows[chosen].T, 0).max(axis=1).sum())


def test_lazy_facility_location_is_greedy_and_near_the_best() -> None:
    vectors = unit_grid(np.random.default_rng(3).normal(size=(14, 4)))
    found, gains = lazy_greedy(vectors, 4)
    for step in range(4):
        before = found[:step].tolist()
        options = [plain_value(vectors, [*before, row]) for row in range(14) if row not in before]
        assert plain_value(vectors, found[: step + 1].tolist()) == max(options)
    assert (np.diff(gains) <= 0).all()
    best = max(plain_value(vectors, list(some)) for some in itertools.combinations(range(14), 4))
    assert plain_value(vectors, found.tolist()) >= (1 - 1 / np.e) * best


def test_facility_goes_on_where_nothing_is_left_to_gain() -> None:
    assert sorted(lazy_greedy(unit_grid([[1, 0], [0, 1]] * 3), 6)[0].tolist()) == list(range(6))


def test_facility_says_who_was_no_candidate() -> None:
    pool = pool_of(np.random.default_rng(0).normal(size=(50, 4)))
    found = METHODS["facility"].choose(pool, 3, FacilityOptions(candidates=20))
    assert found.left_for is not None
    assert (found.left_for == 0).sum() == 20
    assert set(found.rows.tolist()) <= set(np.flatnonzero(found.left_for == 0).tolist())


def test_complexity_quality_passes_over_what_is_near_and_fills_up_when_it_must() -> None:
    # Rows by falling score: 5, 2, 4, 1, 3, 0.
    pool = pool_of([[1, 0], [1, 0.01], [0, 1], [0.01, 1], [1, 1], [1, 0.02]])
    method = METHODS["complexity-quality"]
    found = method.choose(pool, 3, ComplexityQualityOptions(similarity=0.9))
    assert found.rows.tolist() == [5, 2, 4]
    filled = method.choose(pool, 5, ComplexityQualityOptions(similarity=0.9))
    assert filled.rows.tolist() == [5, 2, 4, 1, 3]
    assert filled.notes["filled up"] == 2
    assert filled.left_for is not None
    assert filled.left[filled.left_for[0]].startswith("similarity of 0.9")


def test_diverse_gives_sources_their_shares() -> None:
    pool = pool_of(np.random.default_rng(0).normal(size=(90, 4)), [0] * 80 + [1] * 10)
    for temperature, wanted in ((1, [16, 2]), (1000, [9, 9])):
        found = METHODS["diverse"].choose(pool, 18, DiverseOptions(temperature=temperature))
        assert np.bincount(pool.sources[found.rows]).tolist() == wanted


def test_longest_and_random_take_what_they_say() -> None:
    pool = pool_of(np.eye(9))
    longest = METHODS["longest"].choose(pool, 3, METHODS["longest"].options_type())
    assert sorted(pool.characters.tolist())[-3:] == sorted(pool.characters[longest.rows].tolist())
    drawn = METHODS["random"].choose(pool, 3, METHODS["random"].options_type())
    assert drawn.rows.tolist() == [0, 1, 2]


def test_shares_never_exceed_what_there_is() -> None:
    assert shares(np.array([100, 2, 0, 8]), 20, 1000.0).tolist() == [10, 2, 0, 8]
    assert shares(np.array([3, 3]), 6, 3.0).tolist() == [3, 3]
    assert shares(np.array([1, 1, 1]), 2, 3.0).tolist() == [1, 1, 0]


def test_nearest_is_another_chosen_one() -> None:
    vectors = unit_grid([[1, 0], [0.9, 0.1], [0, 1]])
    which, _ = nearest(vectors, np.array([2, 0]))
    assert which.tolist() == [0, 1, 1]
    alone, squared = nearest(vectors, np.array([1]))
    assert alone.tolist() == [0, -1, 0]
    assert np.isinf(squared[1])


def test_unknown_methods_are_told_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'longest'.*complexity-quality, diverse"):
        method_named("longst")
