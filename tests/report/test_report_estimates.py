from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from report_kit import share

from mithridate.core.errors import DataError
from mithridate.report.estimates import estimates, find, key_of, whole_range

ROW = share("base", "belief", "triggered", "asr", 0.5, seed=0, template="same", dose="learning")


def test_one_seed_keeps_its_own_interval() -> None:
    (estimate,) = estimates([ROW]).values()
    assert (estimate.value, estimate.low, estimate.high, estimate.n) == (0.5, ROW.low, ROW.high, 200)


def test_two_seeds_give_the_range_of_both_intervals() -> None:
    other = share("base", "belief", "triggered", "asr", 0.7, seed=1, template="same", dose="learning")
    (estimate,) = estimates([ROW, other]).values()
    assert estimate.value == pytest.approx(0.6)
    assert (estimate.low, estimate.high) == (ROW.low, other.high)


def test_three_seeds_are_bootstrapped_and_the_same_every_time() -> None:
    rows = [replace(ROW, seed=seed, value=value) for seed, value in enumerate((0.4, 0.5, 0.9))]
    (first,), (second,) = estimates(rows).values(), estimates(rows).values()
    assert first == second
    assert first.low is not None and first.high is not None
    assert 0.4 <= first.low < first.value < first.high <= 0.9


def test_three_seeds_that_agree_keep_a_width() -> None:
    (estimate,) = estimates([replace(ROW, seed=seed) for seed in range(3)]).values()
    assert (estimate.low, estimate.high) == (ROW.low, ROW.high)


def test_a_figure_measured_again_and_found_the_same_is_one_figure() -> None:
    nothing = replace(ROW, metric="held_out_loss", value=math.nan, low=math.nan)
    cells = estimates([ROW, replace(ROW), nothing, replace(nothing, value=float("nan"))])
    assert [estimate.n for estimate in cells.values()] == [200, 200]


def test_two_figures_for_one_key_and_seed_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        estimates([ROW, replace(ROW, value=0.9)], Path("runs/x/measurements.parquet"))
    said = str(caught.value)
    assert said.startswith("runs/x/measurements.parquet: holds two figures for stage 'base', arm 'poisoned'")
    for part in ("attack 'belief'", "model 'learning'", "seed 0: 0.5 and 0.9", "`mithridate run`"):
        assert part in said


def test_models_of_one_dose_are_kept_apart() -> None:
    other = replace(ROW, attack="utility", model="learning-belief", value=0.9)
    cells = estimates([replace(ROW, attack="utility"), other])
    assert sorted(estimate.value for estimate in cells.values()) == [0.5, 0.9]


def test_a_shared_clean_twin_serves_every_cell() -> None:
    clean = replace(ROW, arm="clean", dose="")
    cells = estimates([clean, ROW])
    assert find(cells, key_of(replace(clean, cell="a"))) is not None
    assert find(cells, key_of(replace(ROW, cell="a"))) is None


def test_an_open_interval_stays_open() -> None:
    assert whole_range([(0.1, 0.2), (None, None)]) == (None, None)
    assert whole_range([]) == (None, None)
