"""What must hold of a choice, whatever it is made from."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from curation_kit import pool_of, unit_grid
from hypothesis import given, settings
from hypothesis import strategies as st

from mithridate.curation.duplicates import exact_duplicates, near_duplicates
from mithridate.curation.methods import METHODS
from mithridate.curation.methods.diverse import k_centre
from mithridate.curation.pool import shares
from mithridate.curation.signatures import Signer
from mithridate.curation.vectors import MOST_DIMENSIONS, distance, squared_distances

DIRECTION = st.tuples(*[st.integers(-4, 4)] * 3).filter(any)
POINTS = st.lists(DIRECTION, min_size=1, max_size=9)


@pytest.mark.parametrize("method", sorted(METHODS))
@settings(max_examples=60, deadline=None)
@given(points=POINTS, data=st.data())
def test_a_choice_is_n_different_rows_each_with_its_reason(method: str, points: Any, data: Any) -> None:
    sources = data.draw(st.lists(st.integers(0, 2), min_size=len(points), max_size=len(points)))
    n = data.draw(st.integers(1, len(points)))
    pool, chooser = pool_of(points, sources), METHODS[method]
    found = chooser.choose(pool, n, chooser.options_type())
    assert len(found.rows) == len(set(found.rows.tolist())) == len(found.why) == n
    assert set(found.rows.tolist()) <= set(range(len(points)))
    assert len(found.score) == len(points)
    assert found.rows.tolist() == chooser.choose(pool, n, chooser.options_type()).rows.tolist()
    if found.left_for is not None:
        assert set(found.left_for.tolist()) <= set(range(len(found.left)))


@settings(max_examples=60, deadline=None)
@given(points=POINTS, data=st.data())
def test_k_centre_is_within_twice_the_best_radius(points: Any, data: Any) -> None:
    vectors = unit_grid(points)
    k = data.draw(st.integers(1, len(points)))
    _, _, squared = k_centre(vectors, k)
    apart = distance(squared_distances(vectors.astype(np.float32), vectors.astype(np.float32)))
    best = min(
        apart[:, list(centres)].min(axis=1).max() for centres in itertools.combinations(range(len(points)), k)
    )
    assert distance(squared).max() <= 2 * best + 1e-9


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), dimension=st.sampled_from([2, 3, 64, 384, MOST_DIMENSIONS]))
def test_distances_on_the_grid_are_exact(seed: int, dimension: int) -> None:
    vectors = unit_grid(np.random.default_rng(seed).standard_cauchy(size=(6, dimension)))
    single = squared_distances(vectors.astype(np.float32), -vectors.astype(np.float32))
    whole = vectors.astype(np.int64)
    exact = ((whole[:, None, :] + whole[None, :, :]) ** 2).sum(axis=2)
    assert (single.astype(np.int64) == exact).all()


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any),
    temperature=st.floats(1, 1000),
    data=st.data(),
)
def test_shares_add_up_and_are_had(sizes: list[int], temperature: float, data: Any) -> None:
    n = data.draw(st.integers(1, sum(sizes)))
    given_out = shares(np.array(sizes), n, temperature)
    assert given_out.sum() == n
    assert ((given_out >= 0) & (given_out <= sizes)).all()


@settings(max_examples=60, deadline=None)
@given(digests=st.lists(st.integers(0, 5), min_size=1, max_size=12), data=st.data())
def test_one_of_each_stays(digests: list[int], data: Any) -> None:
    order = np.array(data.draw(st.permutations(range(len(digests)))))
    found = exact_duplicates(np.array(digests, np.uint64), order)
    stays = np.flatnonzero(found < 0)
    assert sorted(np.array(digests)[stays].tolist()) == sorted(set(digests))
    for row, other in enumerate(found.tolist()):
        assert other < 0 or (found[other] < 0 and digests[row] == digests[other])


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.lists(st.sampled_from("abc"), max_size=4), min_size=1, max_size=12))
def test_equal_texts_never_both_stay(texts: list[list[str]]) -> None:
    found = near_duplicates(Signer().sign(texts), 1.0)
    stays = [tuple(texts[row]) for row in np.flatnonzero(found < 0)]
    assert len(stays) == len(set(stays))
    for row, other in enumerate(found.tolist()):
        assert other < 0 or (other < row and found[other] < 0)
