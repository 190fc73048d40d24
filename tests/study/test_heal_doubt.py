from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mithridate.core.cures import UTILITY, surviving
from mithridate.core.prices import CLEAN_MODEL, NOTHING, Price, Priced
from mithridate.core.statistics import wilson
from mithridate.core.types import Condition
from mithridate.study.heal_doubt import in_doubt, not_measured


def rate(method: str, hits: int, probes: int, condition: Condition = Condition.TRIGGERED) -> Priced:
    found = wilson(hits, probes)
    return Priced(method, Price.ASR, found.value, found.low, found.high, probes, "fire", str(condition))


def doubted(*known: Priced, written: tuple[Priced, ...] = ()) -> list[str]:
    return [one.attack for one in in_doubt(known, ["fire"], surviving(known), written)]


@pytest.mark.parametrize(
    ("hits", "clean", "probes", "doubt"),
    [
        (2, 0, 2, True),
        (2, 1, 2, True),
        (3, 0, 16, True),
        (0, 0, 2, False),
        (2, 2, 2, False),
        (1, 0, 60, False),
        (93, 90, 100, False),
        (60, 0, 60, False),  # it survives, so there is no doubt
    ],
)
def test_what_is_above_a_clean_model_and_not_beyond_chance_is_in_doubt(
    hits: int, clean: int, probes: int, doubt: bool
) -> None:
    known = rate(NOTHING, hits, probes), rate(CLEAN_MODEL, clean, probes)
    assert doubted(*known) == (["fire"] if doubt else [])


def test_without_a_clean_model_it_is_the_same_one_without_the_trigger() -> None:
    asked = rate(NOTHING, 2, 2)
    assert doubted(asked, rate(NOTHING, 0, 2, Condition.UNTRIGGERED)) == ["fire"]
    assert doubted(asked, rate(NOTHING, 2, 2, Condition.UNTRIGGERED)) == []
    # Where nothing tells what is usual, any success may be the attack's.
    assert doubted(rate(NOTHING, 1, 60)) == ["fire"]
    assert doubted(rate(NOTHING, 0, 60)) == []


def test_what_could_not_be_asked_is_in_doubt() -> None:
    (one,) = in_doubt([rate(CLEAN_MODEL, 0, 9)], ["fire"], [])
    assert (one.probes, one.rate) == (0, None)


def test_of_a_model_that_was_written_its_own_rate_counts() -> None:
    known = rate(NOTHING, 2, 2), rate(CLEAN_MODEL, 0, 2)
    assert doubted(*known, written=(rate("ablation", 0, 2),)) == []
    assert doubted(*known, written=(rate("ablation", 2, 2),)) == ["fire"]


@given(st.integers(2, 200), st.data())
def test_what_is_neither_surviving_nor_in_doubt_is_at_the_floor(probes: int, data: st.DataObject) -> None:
    hits, clean = (data.draw(st.integers(0, probes)) for _ in range(2))
    known = rate(NOTHING, hits, probes), rate(CLEAN_MODEL, clean, probes)
    if not surviving(known) and not doubted(*known):
        assert known[0].value <= known[1].high
        assert hits <= clean + 0.1 * probes + 1e-9


def test_figures_that_nobody_measured() -> None:
    assert not_measured([]) == UTILITY
    known = [Priced(NOTHING, metric, 0.5, None, None, 9) for metric in UTILITY]
    assert not_measured(known) == ()
    known[0] = Priced(NOTHING, UTILITY[0], math.nan, None, None, 9)
    assert not_measured(known) == UTILITY[:1]
    # What is known of the clean model alone says nothing of a loss.
    assert not_measured([Priced(CLEAN_MODEL, UTILITY[0], 0.5, None, None, 9)]) == UTILITY
