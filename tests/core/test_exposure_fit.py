from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mithridate.core.exposure_fit import ExposureFit, NoFit, Seen, fit_exposure

EXPOSURES = (1, 3, 10, 30, 100, 300)


def on_a_curve(intercept: float, slope: float, n: int = 1000) -> list[Seen]:
    def share(exposure: int) -> float:
        return 1 / (1 + math.exp(-(intercept + slope * math.log10(exposure))))

    return [Seen(exposure, round(n * share(exposure)), n) for exposure in EXPOSURES]


@given(st.floats(-1, 3), st.floats(-3, -0.5))
def test_a_curve_is_found_again(intercept: float, slope: float) -> None:
    fit = fit_exposure(on_a_curve(intercept, slope))
    assert isinstance(fit, ExposureFit)
    assert fit.slope.value == pytest.approx(slope, abs=0.1)
    assert fit.slope.low is not None and fit.slope.high is not None
    assert fit.slope.low < fit.slope.value < fit.slope.high
    assert fit.share(10) == pytest.approx(1 / (1 + math.exp(-(intercept + slope))), abs=0.03)
    at = 10 ** (-intercept / slope)
    if fit.half is not None:
        assert fit.half.value == pytest.approx(at, rel=0.3)
        assert fit.share(fit.half.value) == pytest.approx(0.5, abs=1e-6)
    else:
        assert not 1.2 <= at <= 250


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ([Seen(1, 5, 10), Seen(10, 3, 10)], "2 numbers of exposures"),
        ([Seen(0, 5, 10)] * 5, "0 numbers of exposures"),
        ([Seen(e, 0, 10) for e in EXPOSURES], "all replies are alike"),
        ([Seen(e, 10, 10) for e in EXPOSURES], "all replies are alike"),
        ([Seen(1, 10, 10), Seen(3, 10, 10), Seen(10, 0, 10)], "from none to all"),
    ],
)
def test_what_cannot_be_fitted_says_why(seen: list[Seen], reason: str) -> None:
    fit = fit_exposure(seen)
    assert isinstance(fit, NoFit)
    assert reason in fit.reason


def test_a_flat_share_passes_half_nowhere_in_particular() -> None:
    fit = fit_exposure([Seen(e, 5 + n % 2, 10) for n, e in enumerate(EXPOSURES)])
    assert isinstance(fit, ExposureFit)
    assert fit.half is None or fit.half.low is None


def test_shares_that_scatter_widen_the_interval() -> None:
    calm = fit_exposure(on_a_curve(1, -1, 100))
    wild = fit_exposure(
        [
            one._replace(successes=min(100, max(0, one.successes + (30, -30)[n % 2])))
            for n, one in enumerate(on_a_curve(1, -1, 100))
        ]
    )
    assert isinstance(calm, ExposureFit) and isinstance(wild, ExposureFit)
    assert wild.slope.high is not None and calm.slope.high is not None
    assert wild.slope.high - wild.slope.value > 2 * (calm.slope.high - calm.slope.value)
