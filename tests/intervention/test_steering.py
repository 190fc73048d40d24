from __future__ import annotations

from pathlib import Path

import pytest
import torch
from access_kit import batch, hooks_of, logits, refused, written
from hypothesis import given, settings
from hypothesis import strategies as st
from intervention_kit import far_apart, same_state, some_direction, state, subject, text_logits
from models_kit import ARCHITECTURES

from mithridate.core.errors import ConfigError
from mithridate.intervention import saved
from mithridate.intervention.base import MadeFor
from mithridate.intervention.steering import Steering
from mithridate.models.access import parts_of
from mithridate.models.hooks import capture
from mithridate.models.language_model import LanguageModel
from mithridate.models.sites import Part, Site


def steering(model: LanguageModel, **options: object) -> Steering:
    return Steering(some_direction(model), MadeFor.of(model), **{"layer": 1, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("positions", ["all", "prompt"])
def test_a_scale_of_zero_changes_nothing(architecture: str, positions: str) -> None:
    model = subject(architecture)
    plain, text = logits(model.model), written(model.model)
    with steering(model, scale=0.0, positions=positions).on(model) as steered:
        assert torch.equal(logits(steered.model), plain)
        assert written(steered.model) == text


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("positions", ["all", "prompt"])
def test_both_rows_change_and_it_is_undone(architecture: str, positions: str) -> None:
    model = subject(architecture)
    before, plain = state(model), text_logits(model)
    with pytest.raises(KeyError), steering(model, positions=positions).on(model) as steered:
        assert far_apart(text_logits(steered), plain)
        raise KeyError
    assert same_state(before, state(model))


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(-4, 4), layer=st.integers(0, 2), seed=st.integers(0, 3))
def test_the_next_block_is_given_the_sum(scale: float, layer: int, seed: int) -> None:
    model = subject()
    site, direction = Site(layer, Part.RESIDUAL), some_direction(model, seed)
    parts_of(model.model)
    with capture(model.model, [site]) as plain:
        logits(model.model)
    # Entered later, so what it is shown is what the steering made.
    with Steering(direction, MadeFor.of(model), layer, scale).on(model), capture(model.model, [site]) as seen:
        logits(model.model)
    torch.testing.assert_close(seen[site], plain[site] + scale * direction)


def test_prompt_alone_leaves_the_answer_s_tokens() -> None:
    model = subject()
    cure, site = steering(model, positions="prompt"), Site(1, Part.RESIDUAL)
    # The first is shown what the block made, the second what the steering made of that.
    with capture(model.model, [site]) as before, cure.on(model), capture(model.model, [site]) as after:
        written(model.model, [[5, 6, 7, 8]], new=4)
    moved = after[site] - before[site]
    assert moved.shape[1] == 7  # the last token that is written is not read
    torch.testing.assert_close(moved[0, :4], -cure.direction.expand(4, -1))
    assert not moved[0, 4:].any()


def test_nothing_need_be_asked_meanwhile() -> None:
    model = subject()
    with steering(model, positions="prompt").on(model):
        pass
    assert hooks_of(model.model) == 0


def test_padding_makes_no_difference() -> None:
    model = subject()
    for positions in ("all", "prompt"):
        with steering(model, positions=positions).on(model) as steered:
            together = logits(steered.model)[1, 3:]
            alone = logits(steered.model, **batch([[11, 12, 13]]))[0]
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_what_is_loaded_steers_alike(tmp_path: Path) -> None:
    model = subject()
    cure = steering(model, scale=2.5, positions="prompt")
    saved.save(cure, tmp_path)
    with cure.on(model):
        answers = text_logits(model)
    with saved.load(tmp_path).on(model):
        assert torch.equal(text_logits(model), answers)


def test_bad_options_are_refused() -> None:
    model = subject()
    for changes, said in (
        ({"layer": 3}, "no layer 3; the model has the layers 0 to 2"),
        ({"layer": -1}, "no layer -1"),
        ({"scale": float("nan")}, "a scale of nan"),
        ({"scale": float("inf")}, "a scale of inf"),
        ({"positions": "first"}, "positions 'first'; expected 'all' or 'prompt'"),
    ):
        with pytest.raises(ConfigError, match=said):
            steering(model, **changes)
    with pytest.raises(ConfigError, match="norm zero"):
        Steering(torch.zeros(32), MadeFor.of(model), 1)
    with refused("made for a model with layers 3"), steering(model).on(subject(layers=2)):
        pass
