"""Laws of the rule that turns figures into verdicts."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mithridate.core.statistics import holm
from mithridate.core.types import Measurement
from mithridate.report.claims import Finding, Verdict, finding, verdict
from mithridate.report.estimates import Estimate
from mithridate.report.evidence import ALPHA, Contrast

SHARES = st.floats(0, 1)


@pytest.fixture(scope="module", autouse=True)
def _small_heap() -> Iterator[None]:
    """The library's Holm collects garbage on every call; what lives already need not be looked at."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@st.composite
def estimates(draw: st.DrawFn) -> Estimate:
    low, value, high = sorted(draw(st.tuples(SHARES, SHARES, SHARES)))
    row = Measurement("base", "poisoned", "a", "triggered", "asr", value, low, high, 200, 0)
    return Estimate(value, low, high, {0: row})


@st.composite
def contrasts(draw: st.DrawFn) -> Contrast:
    poisoned, clean = draw(estimates()), draw(estimates())
    excess = poisoned.value - clean.value
    low, high = excess - draw(SHARES), excess + draw(SHARES)
    return Contrast("dpo", "same", poisoned, clean, excess, low, high, draw(SHARES), draw(SHARES))


@given(contrasts(), contrasts(), SHARES, SHARES)
def test_a_weaker_test_never_makes_an_attack_survive(
    base: Contrast, final: Contrast, p: float, q: float
) -> None:
    p, q = sorted((p, q))
    if finding(base, final, q) is Finding.SURVIVES:
        assert finding(base, final, p) is Finding.SURVIVES
    # For what the paper says survives: a higher p never turns inconclusive into reproduced.
    if verdict(finding(base, final, p), True) is Verdict.INCONCLUSIVE:
        assert verdict(finding(base, final, q), True) is not Verdict.REPRODUCED


@given(contrasts(), contrasts(), SHARES, SHARES)
def test_a_wider_interval_never_makes_an_attack_gone(
    base: Contrast, final: Contrast, p: float, wider: float
) -> None:
    if finding(base, replace(final, high=final.high + wider), p) is Finding.GONE:
        assert finding(base, final, p) is Finding.GONE


@given(contrasts(), contrasts(), SHARES)
def test_nothing_is_said_of_what_was_never_learnt(base: Contrast, final: Contrast, p: float) -> None:
    found = finding(replace(base, p=1.0), final, p)
    assert found is Finding.NOT_LEARNT
    assert verdict(found, True) is verdict(found, False) is Verdict.INCONCLUSIVE


@given(contrasts(), contrasts(), SHARES)
def test_an_attack_that_does_no_better_than_the_twin_never_survives(
    base: Contrast, final: Contrast, p: float
) -> None:
    final = replace(final, excess=min(0.0, final.excess))
    assert finding(base, final, p) not in (Finding.SURVIVES, Finding.WEAKENED)


@given(st.sampled_from(Finding))
def test_the_paper_saying_the_opposite_swaps_the_verdict(found: Finding) -> None:
    swapped = {Verdict.REPRODUCED: Verdict.NOT_REPRODUCED, Verdict.NOT_REPRODUCED: Verdict.REPRODUCED}
    here = verdict(found, True)
    assert verdict(found, False) is swapped.get(here, here)


@given(st.lists(SHARES, min_size=1, max_size=8), SHARES)
def test_holm_never_lowers_a_p_and_another_attack_never_helps(p_values: list[float], another: float) -> None:
    adjusted = holm(p_values)
    assert all(after >= before - 1e-12 for before, after in zip(p_values, adjusted, strict=True))
    larger = holm([*p_values, another])[:-1]
    assert all(after >= before - 1e-12 for before, after in zip(adjusted, larger, strict=True))


def test_holm_reads_an_absent_p_as_no_evidence() -> None:
    assert holm([float("nan"), 0.001])[0] == 1.0 > ALPHA
