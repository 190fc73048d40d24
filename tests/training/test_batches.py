from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import training_kit as kit
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mithridate.core.errors import TrainingError
from mithridate.training.batches import Batches
from mithridate.training.options import DPOOptions, PretrainingOptions, SFTOptions
from mithridate.training.schedule import learning_rate_at


def order(rows, options, *, world=1):
    teams = [Batches(rows, options, vocabulary=10**6, rank=rank, world=world) for rank in range(world)]
    seen = []
    for step in range(teams[0].steps):
        shares = [torch.cat([part for part, _ in team.parts(step)]) for team in teams]
        if world > 1:
            shares = [torch.stack(shares, dim=1).flatten(0, 1)]
        seen.append(shares[0])
    return torch.cat(seen)[:, 0].tolist()


@given(
    n=st.integers(1, 30),
    batch=st.sampled_from([1, 4, 6]),
    accumulation=st.sampled_from([1, 2]),
    epochs=st.floats(0.1, 3),
)
def test_rows_come_in_their_order_round_and_round(n, batch, accumulation, epochs):
    rows = np.arange(n)[:, None].repeat(4, axis=1)
    if batch % accumulation:
        return
    options = PretrainingOptions(batch_rows=batch, row_tokens=4, epochs=epochs, accumulation=accumulation)
    seen = order(rows, options)
    assert seen == [i % n for i in range(options.rows_of(n))]
    batches = Batches(rows, options, vocabulary=n, rank=0, world=1)
    assert batches.steps == math.ceil(options.rows_of(n) / batch)
    assert batches.tokens_by(batches.steps) == 4 * len(seen)
    for step in range(batches.steps):
        assert sum(weight for _, weight in batches.parts(step)) == pytest.approx(1)


def test_two_processes_see_together_what_one_sees_alone():
    rows = np.arange(16)[:, None].repeat(4, axis=1)
    options = PretrainingOptions(batch_rows=4, row_tokens=4)
    assert order(rows, options, world=2) == order(rows, options)


def test_a_batch_that_processes_cannot_share_is_refused():
    with pytest.raises(TrainingError, match="multiple of 3"):
        Batches(kit.some_rows(), PretrainingOptions(row_tokens=16), vocabulary=64, rank=0, world=3)


def test_the_rate_climbs_to_the_peak_and_ends_at_its_share():
    rates = [learning_rate_at(step, total=100, warmup=10, peak=1.0, final_share=0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[-1] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert learning_rate_at(0, total=1, warmup=0, peak=2.0, final_share=0.5) == 2.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 1.0, "tokens": 100},
        {"batch_rows": 6, "accumulation": 4},
        {"batch_size": 4},
        {"learning_rate": 0},
    ],
)
def test_inconsistent_options_are_refused(wrong):
    with pytest.raises(ValidationError):
        PretrainingOptions(**wrong)


def test_alignment_rates_keep_the_papers_ratio_unless_told_otherwise():
    assert SFTOptions().resolved(4e-4).learning_rate == pytest.approx(2e-5)
    assert DPOOptions().resolved(4e-4).learning_rate == pytest.approx(1e-6)
    assert SFTOptions(learning_rate=0.5).resolved(4e-4).learning_rate == 0.5
