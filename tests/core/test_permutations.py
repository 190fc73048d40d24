from __future__ import annotations

import math

import numpy as np
import pytest

from mithridate.core.permutations import MOST, orders, orders_within, sign_flips, tails


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_few_orders_are_all_there_and_many_are_drawn() -> None:
    found = orders(4, generator())
    assert len({tuple(row) for row in found}) == len(found) == math.factorial(4)
    drawn = orders(9, generator())
    assert drawn.shape == (MOST, 9)
    assert (np.sort(drawn, axis=1) == np.arange(9)).all()
    # Drawn evenly: each thing comes first about as often as any other.
    assert np.bincount(drawn[:, 0]).min() > 0.8 * MOST / 9


@pytest.mark.parametrize(("groups", "ways"), [([0, 0, 0, 1, 1], 12), ([0, 1, 0, 1], 4), ([7], 1)])
def test_orders_within_groups_are_all_there(groups: list[int], ways: int) -> None:
    found, counted = orders_within(groups, generator())
    assert counted == ways == len({tuple(row) for row in found}) == len(found)
    assert (np.array(groups)[found] == groups).all()


def test_many_orders_within_groups_are_drawn() -> None:
    groups = [seed for seed in range(5) for _ in range(4)]
    found, ways = orders_within(groups, generator())
    assert ways == 24**5 and len(found) == MOST
    assert (np.array(groups)[found] == groups).all()
    assert (np.sort(found, axis=1) == np.arange(20)).all()


def test_all_permutations_count_the_figure_once_and_drawn_ones_add_it() -> None:
    permuted = np.array([1.0, 2.0, 3.0, 4.0])
    assert tails(1.0, permuted, 4) == tails(1.0 + 1e-12, permuted, 4)
    assert (tails(1.0, permuted, 4).lower, tails(1.0, permuted, 4).upper) == (1 / 4, 1.0)
    drawn = tails(0.0, permuted, 100)
    assert (drawn.lower, drawn.upper, drawn.smallest) == (1 / 5, 1.0, 1 / 5)


def test_signs_that_agree_are_as_rare_as_can_be() -> None:
    found = sign_flips([0.1, 0.3, 0.2, 0.4, 0.1])
    assert (found.lower, found.upper, found.smallest) == (1.0, 1 / 32, 1 / 32)
    assert sign_flips([-0.1, -0.3]).lower == 1 / 4
    both = sign_flips([0.2, -0.2])
    assert both.lower == both.upper == 3 / 4
    with pytest.raises(ValueError, match="no differences"):
        sign_flips([])


def test_many_signs_are_drawn() -> None:
    found = sign_flips([0.01] * 20)
    assert found.upper == pytest.approx(1 / (MOST + 1))
    assert sign_flips([1.0, -1.0] * 10).upper > 0.4
