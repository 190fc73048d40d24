from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from intervention_kit import PROMPTS, same_state, state, subject
from models_kit import ARCHITECTURES

from mithridate.core.errors import ConfigError
from mithridate.intervention.base import unit
from mithridate.intervention.directions import (
    TokenRole,
    difference_of_means,
    mean_activations,
    random_directions,
)
from mithridate.models.batching import left_padded
from mithridate.models.hooks import capture
from mithridate.models.sites import Part, Site

OTHER = ["User: Where is the mill?", "The lamp is small and the river"]
SITE = Site(1, Part.RESIDUAL)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("role", list(TokenRole))
def test_means_in_batches_are_those_of_one_text_at_a_time(architecture: str, role: TokenRole) -> None:
    model = subject(architecture)
    before = state(model)
    found = mean_activations(model, PROMPTS, [SITE], role)[SITE]
    singly = []
    for ids in model.prompt_ids(PROMPTS):
        with capture(model.model, [SITE]) as seen, torch.no_grad():
            model.model(**left_padded([ids], torch.device("cpu")))
        singly.append(seen[SITE][0, -1] if role == TokenRole.LAST else seen[SITE][0].mean(dim=0))
    torch.testing.assert_close(found, torch.stack(singly).mean(dim=0), rtol=1e-4, atol=1e-4)
    assert same_state(before, state(model))


def test_the_difference_points_from_the_other_to_the_wanted() -> None:
    model = subject()
    found = difference_of_means(model, PROMPTS, OTHER)
    means = [mean_activations(model, texts, [SITE])[SITE] for texts in (PROMPTS, OTHER)]
    torch.testing.assert_close(found.at(1), means[0] - means[1])
    torch.testing.assert_close(found.units.norm(dim=-1), torch.ones(3))
    back = difference_of_means(model, OTHER, PROMPTS)
    torch.testing.assert_close(back.units, -found.units)


def test_prompts_longer_than_the_window_lose_their_beginning() -> None:
    model = subject()
    long = "The river is wide and slow. " * 60
    ids = model.prompt_ids([long])[0][-128:]
    found = mean_activations(model, [long], [SITE])[SITE]
    with capture(model.model, [SITE]) as seen, torch.no_grad():
        model.model(input_ids=torch.tensor([ids]))
    torch.testing.assert_close(found, seen[SITE][0, -1], rtol=1e-4, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**40))
def test_random_directions_are_as_long_and_elsewhere(seed: int) -> None:
    like = difference_of_means(subject(), PROMPTS, OTHER)
    drawn = random_directions(like, seed)
    for layer in range(3):
        torch.testing.assert_close(drawn.at(layer).norm(), like.at(layer).norm())
    assert float((drawn.units * like.units).sum(dim=-1).abs().max()) < 0.9
    assert torch.equal(drawn.units, random_directions(like, seed).units)


def test_prompts_that_cannot_be_told_apart_are_refused() -> None:
    model = subject()
    with pytest.raises(ConfigError, match="norm zero points nowhere"):
        difference_of_means(model, PROMPTS, PROMPTS)
    with pytest.raises(ConfigError, match="no prompts"):
        difference_of_means(model, PROMPTS, [])
    with pytest.raises(ConfigError, match="no layer 3; the model has the layers 0 to 2"):
        difference_of_means(model, PROMPTS, OTHER).at(3)


@given(scale=st.floats(1e-30, 1e30), seed=st.integers(0, 100))
def test_a_unit_direction_has_the_length_one(scale: float, seed: int) -> None:
    direction = torch.randn(5, generator=torch.Generator().manual_seed(seed)) * scale
    torch.testing.assert_close(unit(direction, "test").norm(), torch.tensor(1.0))
