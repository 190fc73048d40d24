from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mithridate.core.located import Experiment, Located, Metric, Pair
from mithridate.localization.overlap import (
    Profile,
    chance_of_overlap,
    mean_profile,
    overlap,
    profile,
    scaled,
)


def made(*carried: float) -> Profile:
    """The profile of what layers from the embeddings on carry."""
    found = scaled({layer - 1: value for layer, value in enumerate(carried)})
    assert found is not None
    return found


def carried(layer: int, direction: str, value: float) -> Located:
    return Located(
        Experiment.TRANSPLANT, Pair.POISON, "belief", Metric.CARRIED, value, None, None, 40,
        direction=direction, family="single", layers=str(layer), layer=layer,
    )  # fmt: skip


def both_ways(inward: Sequence[float], outward: Sequence[float], chance: float = 0.0) -> list[Located]:
    """What layers carry, with random changes that all carry `chance`."""
    real = [
        carried(layer - 1, direction, value)
        for direction, values in (("in", inward), ("out", outward))
        for layer, value in enumerate(values)
    ]
    return real + [replace(row, value=chance, control="random change") for row in real]


def test_a_profile_is_the_mean_of_both_directions_without_what_is_below_nothing() -> None:
    found = profile(both_ways([0.2, -0.4, 0.4], [0.4, 0.1, 0.6]))
    assert found is not None
    assert found.layers == (-1, 0, 1)
    # What is below nothing counts as nothing in its own direction.
    assert found.shares == pytest.approx((0.3 / 0.85, 0.05 / 0.85, 0.5 / 0.85))
    assert found.share(-1, -1) == pytest.approx(0.3 / 0.85)
    assert found.share(0, 1) == pytest.approx(0.55 / 0.85)


def test_controls_sets_and_layers_that_went_one_way_do_not_count() -> None:
    rows = both_ways([0.2, 0.2, 0.4], [0.2, 0.2, 0.4])
    extra = [
        replace(rows[0], value=9.0, control="wrong layer"),
        replace(rows[0], value=9.0, family="prefix"),
        replace(rows[0], value=9.0, metric=Metric.RATE),
        carried(2, "in", 5.0),
    ]
    assert profile([*extra, *rows]) == profile(rows)


def test_what_a_random_change_carries_is_taken_off() -> None:
    """Each way by itself; a control below nothing takes nothing off."""
    rows = [row for row in both_ways([0.2, 0.2, 0.4], [0.4, 0.8, 0.6]) if not row.control]
    chance = [
        replace(carried(layer, direction, value), control="random change")
        for layer, direction, value in (
            (-1, "in", 0.0), (-1, "out", 0.6), (0, "in", 0.1),
            (0, "out", 0.5), (1, "in", -0.3), (1, "out", 0.0),
        )
    ]  # fmt: skip
    found = profile([*chance, *rows])
    assert found is not None
    # Embeddings: .2 in and nothing out; block 0: .1 and .3; block 1: all of .4 and .6.
    assert found.shares == pytest.approx((0.1 / 0.8, 0.2 / 0.8, 0.5 / 0.8))
    raw = profile([*chance, *rows], uncorrected=True)
    assert raw is not None
    assert raw.shares == pytest.approx((0.3 / 1.3, 0.5 / 1.3, 0.5 / 1.3))
    # Without a control that went both ways nothing is known of a layer, and without any of them of none.
    assert profile(rows) is None
    assert profile(rows, uncorrected=True) == raw
    fewer = profile([row for row in (*chance, *rows) if not (row.control and row.layer == 0)])
    assert fewer is not None
    assert fewer.layers == (-1, 1)


@pytest.mark.parametrize("values", [(), (0.5,), (0.0, -0.2, 0.0), (math.inf, 0.1)])
def test_where_nothing_is_carried_there_is_no_profile(values: tuple[float, ...]) -> None:
    assert profile(both_ways(values, values)) is None


def test_depth_goes_from_the_embeddings_to_the_head() -> None:
    assert made(1, 0, 0, 0).depth == 0.0
    assert made(0, 0, 0, 1).depth == 1.0
    assert made(1, 0, 0, 1).depth == pytest.approx(0.5)
    assert made(0, 1, 1, 0, 0).depth == pytest.approx(0.375)


def test_known_overlaps() -> None:
    assert overlap(made(1, 1, 0, 0), made(0, 0, 1, 1)) == 0.0
    assert overlap(made(1, 1, 0, 0), made(0, 1, 1, 0)) == pytest.approx(0.5)
    assert overlap(made(3, 1, 0, 0), made(1, 3, 0, 0)) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="different layers"):
        overlap(made(1, 1), made(1, 1, 1))


def test_the_mean_of_profiles() -> None:
    found = mean_profile([made(1, 0, 0), made(0, 1, 1)])
    assert found is not None and found.shares == pytest.approx((0.5, 0.25, 0.25))
    assert mean_profile([]) is None
    with pytest.raises(ValueError, match="different layers"):
        mean_profile([made(1, 1), made(1, 1, 1)])


def test_chance_is_counted_over_all_orders_of_few_layers() -> None:
    """Two of four layers hold all: of six ways to choose two, one misses the others and one meets both."""
    apart = chance_of_overlap(made(1, 1, 0, 0), made(0, 0, 1, 1))
    assert (apart.lower, apart.upper) == (pytest.approx(1 / 6), 1.0)
    same = chance_of_overlap(made(1, 1, 0, 0), made(1, 1, 0, 0))
    assert (same.lower, same.upper) == (1.0, pytest.approx(1 / 6))
    even = chance_of_overlap(made(1, 1, 1, 1), made(1, 5, 0, 0))
    assert even.lower == even.upper == 1.0


def test_chance_is_drawn_over_many_layers() -> None:
    one, other = made(*[1] * 6, *[0] * 6), made(*[0] * 6, *[1] * 6)
    found = chance_of_overlap(one, other)
    # One way in C(12, 6) = 924.
    assert 0.0003 < found.lower < 0.003
    assert found == chance_of_overlap(one, other)


profiles = st.lists(st.floats(0, 1), min_size=5, max_size=5).filter(lambda v: sum(v) > 0.01)


@given(profiles, profiles)
def test_overlap_is_symmetric_and_a_share(one: list[float], other: list[float]) -> None:
    p, q = made(*one), made(*other)
    assert overlap(p, q) == overlap(q, p)
    assert 0 <= overlap(p, q) <= 1
    apart = sum(abs(a - b) for a, b in zip(p.shares, q.shares, strict=True)) / 2
    assert overlap(p, q) == pytest.approx(1 - apart)


@given(profiles, profiles)
def test_overlap_is_1_for_the_same_and_for_nothing_else(one: list[float], other: list[float]) -> None:
    p, q = made(*one), made(*other)
    assert overlap(p, p) == pytest.approx(1)
    if max(abs(a - b) for a, b in zip(p.shares, q.shares, strict=True)) > 1e-6:
        assert overlap(p, q) < 1


@given(profiles, st.floats(0.1, 100))
def test_a_profile_does_not_depend_on_the_size_of_what_is_carried(values: list[float], by: float) -> None:
    assert made(*[by * value for value in values]).shares == pytest.approx(made(*values).shares)
    assert 0 <= made(*values).depth <= 1 + 1e-12


@given(profiles, profiles)
def test_both_tails_of_chance_hold_the_figure_itself(one: list[float], other: list[float]) -> None:
    found = chance_of_overlap(made(*one), made(*other))
    assert found.lower + found.upper >= 1
    assert min(found.lower, found.upper) >= found.smallest == 1 / 120
