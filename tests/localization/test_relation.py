from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from mithridate.localization.relation import Point, relation

ATTACKS = "abcd"


def points(seeds: int, slope: float, noise: float = 0.0, attacks: str = ATTACKS) -> list[Point]:
    """Overlaps of 0.1, 0.3, … and survivals that follow them, with noise of its own in each seed."""
    rng = np.random.default_rng(3)
    return [
        Point(attack, seed, 0.1 + 0.2 * i, 0.5 + slope * 0.2 * i + noise * float(rng.normal()))
        for seed in range(seeds)
        for i, attack in enumerate(attacks)
    ]


def test_one_seed_of_four_attacks_can_say_one_in_twenty_four_at_best() -> None:
    found = relation(points(1, -1.0))
    assert found.rho == pytest.approx(-1)
    assert found.within is not None and found.whole is not None
    assert found.within.lower == found.within.smallest == found.whole.lower == pytest.approx(1 / 24)
    assert found.within.upper == 1.0
    assert found.detectable > 0.98


def test_several_seeds_are_permuted_each_by_itself() -> None:
    found = relation(points(2, 1.0))
    assert found.rho == pytest.approx(1)
    assert found.within is not None and found.whole is not None
    assert found.within.upper == pytest.approx(1 / 24**2)
    # Attacks that behave alike in every seed are no more than four.
    assert found.whole.upper == pytest.approx(1 / 24)
    assert relation(points(5, 1.0)).within.upper < 0.001  # type: ignore[union-attr]


def test_an_attack_that_lacks_a_seed_counts_within_seeds_alone() -> None:
    lacking = [point for point in points(3, -1.0) if (point.attack, point.seed) != ("a", 1)]
    found, complete = relation(lacking), relation(points(3, -1.0, attacks="bcd"))
    assert len(found.points) == 11
    assert found.whole is not None and complete.whole is not None
    assert found.whole.smallest == complete.whole.smallest == pytest.approx(1 / 6)


def test_what_does_not_differ_has_no_order() -> None:
    found = relation([Point("a", 0, 0.5, 1.0), Point("b", 0, 0.5, 0.2)])
    assert (found.rho, found.within, found.whole) == (None, None, None)
    assert relation([]).rho is None


def test_rho_is_spearmans_with_ties() -> None:
    given_ = [Point("a", 0, 1, 3), Point("b", 0, 1, 2), Point("c", 0, 2, 2), Point("d", 0, 5, 0)]
    expected = spearmanr([p.x for p in given_], [p.y for p in given_]).statistic
    assert relation(given_).rho == pytest.approx(expected)


def test_what_seeds_have_as_wholes_does_not_count() -> None:
    """A seed in which all overlap more and survive more, beside a relation within seeds that falls."""
    apart = [Point(p.attack, p.seed, p.x + p.seed, p.y + 10 * p.seed) for p in points(3, -1.0, noise=0.0)]
    pooled = spearmanr([p.x for p in apart], [p.y for p in apart]).statistic
    assert pooled > 0.5
    found = relation(apart)
    assert found.rho == pytest.approx(-1)
    assert found.within == relation(points(3, -1.0)).within


def test_a_seed_with_one_point_says_nothing() -> None:
    alone = Point("a", 9, 0.9, 0.9)
    assert relation([*points(2, -1.0), alone]) == relation(points(2, -1.0))


def test_chance_alone_is_rarely_below_its_level() -> None:
    """Over many draws without a relation, a p below .05 comes about once in twenty."""
    rng = np.random.default_rng(0)
    below = 0
    for _ in range(200):
        made = [Point(a, s, float(rng.random()), float(rng.random())) for s in range(2) for a in ATTACKS]
        within = relation(made).within
        assert within is not None
        below += within.lower < 0.05
    assert 2 <= below <= 20


def test_more_points_find_smaller_relations() -> None:
    assert relation(points(5, 1.0)).detectable < relation(points(2, 1.0)).detectable < 1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=5))
def test_turning_one_figure_round_turns_the_test_round(values: list[tuple[float, float]]) -> None:
    made = [Point(str(i), 0, x, y) for i, (x, y) in enumerate(values)]
    turned = [Point(p.attack, p.seed, p.x, -p.y) for p in made]
    one, other = relation(made), relation(turned)
    if one.rho is not None:
        assert other.rho == pytest.approx(-one.rho)
        assert one.within is not None and other.within is not None
        assert one.within.lower == pytest.approx(other.within.upper)
