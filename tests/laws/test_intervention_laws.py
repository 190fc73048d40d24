"""What holds of interventions whatever the direction, the layers and the kind of decoder."""

from __future__ import annotations

from functools import cache

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from intervention_kit import FOLDABLE, same_state, some_direction, state, subject, text_logits

from mithridate.intervention.ablation import DirectionalAblation, removing
from mithridate.intervention.base import MadeFor
from mithridate.intervention.steering import Steering
from mithridate.models.language_model import LanguageModel

ARCHITECTURES = st.sampled_from((*FOLDABLE, "olmo2", "gemma2"))
FEW = settings(max_examples=12, deadline=None)

kept = cache(subject)


def answers(model: LanguageModel, *cures: DirectionalAblation | Steering) -> torch.Tensor:
    """Of the model with these interventions, the first the outermost."""
    if not cures:
        return text_logits(model)
    with cures[0].on(model) as changed:
        return answers(changed, *cures[1:])


@FEW
@given(
    architecture=ARCHITECTURES,
    seed=st.integers(0, 99),
    scale=st.floats(0.01, 100),
    sign=st.sampled_from([1, -1]),
)
def test_ablation_knows_a_line_and_not_an_arrow(
    architecture: str, seed: int, scale: float, sign: int
) -> None:
    model = kept(architecture)
    direction, made_for = some_direction(model, seed), MadeFor.of(model)
    one = answers(model, DirectionalAblation(direction, made_for))
    other = answers(model, DirectionalAblation(sign * scale * direction, made_for))
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@FEW
@given(architecture=ARCHITECTURES, seed=st.integers(0, 99))
def test_ablating_twice_is_ablating_once(architecture: str, seed: int) -> None:
    model = kept(architecture)
    cure = DirectionalAblation(some_direction(model, seed), MadeFor.of(model))
    torch.testing.assert_close(answers(model, cure, cure), answers(model, cure), rtol=1e-3, atol=1e-3)


@FEW
@given(architecture=st.sampled_from(FOLDABLE), seed=st.integers(0, 99), top=st.none() | st.integers(1, 3))
def test_folded_weights_answer_as_the_runtime_does(architecture: str, seed: int, top: int | None) -> None:
    model = kept(architecture)
    before = state(model)
    layers = None if top is None else tuple(range(top))
    cure = DirectionalAblation(some_direction(model, seed), MadeFor.of(model), layers)
    torch.testing.assert_close(answers(cure.fold(model)), answers(model, cure), rtol=1e-3, atol=1e-3)
    assert same_state(before, state(model))


@FEW
@given(architecture=ARCHITECTURES, seed=st.integers(0, 99), layer=st.integers(0, 2), scale=st.floats(-3, 3))
def test_steering_there_and_back_is_no_steering(
    architecture: str, seed: int, layer: int, scale: float
) -> None:
    model = kept(architecture)
    before, direction, made_for = state(model), some_direction(model, seed), MadeFor.of(model)
    there, back = (Steering(direction, made_for, layer, way) for way in (scale, -scale))
    torch.testing.assert_close(answers(model, there, back), answers(model), rtol=1e-3, atol=1e-3)
    assert same_state(before, state(model))


@given(seed=st.integers(0, 999), rows=st.integers(1, 3), columns=st.integers(1, 4), size=st.floats(1e-3, 1e3))
def test_what_is_removed_is_the_component_and_nothing_else(
    seed: int, rows: int, columns: int, size: float
) -> None:
    made = torch.Generator().manual_seed(seed)
    direction, stream = torch.randn(8, generator=made), size * torch.randn(rows, columns, 8, generator=made)
    left = removing(direction)(stream)
    one = direction / direction.norm()
    assert float((left @ one).abs().max()) < 1e-5 * size
    torch.testing.assert_close(stream - left, (stream @ one)[..., None] * one, rtol=1e-4, atol=1e-5 * size)
