from __future__ import annotations

from pathlib import Path

import pytest
import torch
from access_kit import batch, hooks_of, logits, refused, written
from intervention_kit import (
    FOLDABLE,
    PROMPTS,
    far_apart,
    reloaded,
    same_state,
    some_direction,
    state,
    subject,
    text_logits,
)
from models_kit import ARCHITECTURES

from mithridate.core.errors import ConfigError
from mithridate.intervention.ablation import DirectionalAblation
from mithridate.intervention.base import Foldable, MadeFor, unit
from mithridate.models.access import parts_of
from mithridate.models.hooks import capture
from mithridate.models.language_model import LanguageModel
from mithridate.models.sites import Part, Site


def ablation(model: LanguageModel, layers: tuple[int, ...] | None = None) -> DirectionalAblation:
    return DirectionalAblation(some_direction(model), MadeFor.of(model), layers)


def components(model: LanguageModel, direction: torch.Tensor, sites: list[Site]) -> dict[Site, float]:
    """The largest part of the direction at each site, as a share of the largest activation there."""
    with capture(model.model, sites) as seen:
        logits(model.model)
    one = unit(direction, "test")
    return {site: float((seen[site] @ one).abs().max() / seen[site].norm(dim=-1).max()) for site in sites}


def likelihoods(model: LanguageModel) -> list[float]:
    return [found.total for found in model.log_likelihood(PROMPTS, [" the mill"] * len(PROMPTS))]


@pytest.mark.parametrize("architecture", (*ARCHITECTURES, "gemma2", "gpt2"))
def test_the_stream_has_none_of_the_direction_anywhere(architecture: str) -> None:
    model = subject(architecture)
    cure = ablation(model)
    before = components(model, cure.direction, parts_of(model.model).sites())
    assert min(before.values()) > 1e-3
    plain = text_logits(model)
    # What the ablation changes itself is seen as it was before; the stream behind each block shows the rest.
    with cure.on(model) as ablated:
        streams = parts_of(model.model).sites(Part.RESIDUAL)
        assert max(components(ablated, cure.direction, streams).values()) < 1e-5
        assert far_apart(text_logits(ablated), plain)


@pytest.mark.parametrize("architecture", FOLDABLE)
@pytest.mark.parametrize("tied", [True, False])
def test_folded_is_runtime(architecture: str, tied: bool, tmp_path: Path) -> None:
    model = subject(architecture, tie_embeddings=tied)
    cure = ablation(model)
    before = state(model)
    folded = cure.fold(model)
    assert isinstance(cure, Foldable)
    assert same_state(before, state(model))
    with cure.on(model) as ablated:
        runtime, answers = text_logits(ablated), ablated.generate(PROMPTS, max_new_tokens=8)
        scores = likelihoods(ablated)
    again = reloaded(folded, tmp_path / "folded")
    for other in (folded, again):
        assert hooks_of(other.model) == 0
        torch.testing.assert_close(text_logits(other), runtime, rtol=1e-4, atol=1e-4)
        assert other.generate(PROMPTS, max_new_tokens=8) == answers
        assert likelihoods(other) == pytest.approx(scores, abs=1e-3)
    everywhere = components(folded, cure.direction, parts_of(folded.model).sites())
    assert max(everywhere.values()) < 1e-5
    assert torch.equal(text_logits(again), text_logits(folded))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_several_directions_go_together(architecture: str) -> None:
    model = subject(architecture)
    directions = torch.stack([some_direction(model, seed) for seed in range(3)])
    directions[1] += 2 * directions[0]  # far from orthogonal, so one after the other would bring some back
    cure = DirectionalAblation(directions, MadeFor.of(model))
    with cure.on(model) as ablated:
        for direction in directions:
            found = components(ablated, direction, parts_of(model.model).sites(Part.RESIDUAL))
            assert max(found.values()) < 1e-5
        runtime = text_logits(ablated)
    if architecture in FOLDABLE:
        torch.testing.assert_close(text_logits(cure.fold(model)), runtime, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_is_undone_whatever_happens(architecture: str) -> None:
    model = subject(architecture)
    before, text = state(model), written(model.model)
    with pytest.raises(KeyError), ablation(model).on(model) as ablated:
        assert written(ablated.model) != text
        raise KeyError
    assert same_state(before, state(model))
    assert written(model.model) == text


def test_generation_with_a_cache_is_generation_without() -> None:
    model = subject()
    with ablation(model).on(model) as ablated:
        rows = [[5, 6, 7, 8]]
        cached = written(ablated.model, rows)[0]
        for place in range(5):
            ids = torch.tensor([rows[0] + cached[:place]])
            assert int(logits(ablated.model, input_ids=ids)[0, -1].argmax()) == cached[place]


def test_nothing_need_be_asked_meanwhile() -> None:
    model = subject()
    with ablation(model).on(model):
        pass
    assert hooks_of(model.model) == 0


def test_chosen_layers_are_given_and_add_none_of_it() -> None:
    model = subject()
    cure = ablation(model, (1,))
    assert set(cure.sites()) == {
        Site(0, Part.RESIDUAL),
        Site(1, Part.ATTENTION),
        Site(1, Part.MLP),
    }
    with cure.on(model) as ablated:
        found = components(ablated, cure.direction, parts_of(model.model).sites(Part.RESIDUAL))
    assert found[Site(1, Part.RESIDUAL)] < 1e-5
    assert found[Site(2, Part.RESIDUAL)] > 1e-3  # block 2 writes it again


def test_the_lowest_layers_can_be_folded_and_others_not() -> None:
    model = subject()
    cure = ablation(model, (1, 0))
    with cure.on(model) as ablated:
        runtime = text_logits(ablated)
    torch.testing.assert_close(text_logits(cure.fold(model)), runtime, rtol=1e-4, atol=1e-4)
    with refused(r"layers \[1, 2\] cannot be folded.*name the layers 0 to 2"):
        ablation(model, (1, 2)).fold(model)


@pytest.mark.parametrize("architecture", ["olmo2", "gemma2"])
def test_a_norm_behind_a_branch_cannot_be_folded(architecture: str) -> None:
    model = subject(architecture)
    with refused("behind the attention of block 0 stands a norm"):
        ablation(model).fold(model)


def test_a_table_of_positions_cannot_be_folded() -> None:
    model = subject("gpt2")
    with refused("the entry of block 0 still has the direction"):
        ablation(model).fold(model)


def test_the_folded_model_keeps_the_head_that_the_embeddings_were() -> None:
    model = subject(tie_embeddings=True)
    folded = ablation(model).fold(model).model
    assert not folded.config.tie_word_embeddings
    assert model.model.config.tie_word_embeddings
    assert torch.equal(folded.get_output_embeddings().weight, model.model.get_output_embeddings().weight)
    assert not torch.equal(folded.get_input_embeddings().weight, model.model.get_input_embeddings().weight)


def test_bad_directions_and_layers_are_refused() -> None:
    model = subject()
    made_for = MadeFor.of(model)
    with pytest.raises(ConfigError, match=r"norm zero.*lists of prompts"):
        DirectionalAblation(torch.zeros(32), made_for)
    with pytest.raises(ConfigError, match=r"shape \(31,\); expected .* \(32,\)"):
        DirectionalAblation(torch.ones(31), made_for)
    with pytest.raises(ConfigError, match="not finite"):
        DirectionalAblation(torch.full((32,), float("nan")), made_for)
    one = torch.randn(32)
    for several in (torch.stack([one, torch.ones(32), one - 2]), torch.randn(33, 32)):
        with pytest.raises(ConfigError, match="one lies within what the others span"):
            DirectionalAblation(several, made_for)
    with pytest.raises(ConfigError, match=r"shape \(1, 2, 32\)"):
        DirectionalAblation(torch.randn(1, 2, 32), made_for)
    with pytest.raises(ConfigError, match="no layer 3; the model has the layers 0 to 2"):
        DirectionalAblation(torch.ones(32), made_for, (0, 3))


def test_another_model_is_refused() -> None:
    cure = ablation(subject())
    for other, said in (
        (subject("qwen3"), "architecture llama .here qwen3"),
        (subject(layers=2), "layers 3"),
    ):
        with refused(said), cure.on(other):
            pass
        with refused(said):
            cure.fold(other)


def test_padding_makes_no_difference() -> None:
    model = subject()
    with ablation(model).on(model) as ablated:
        together = logits(ablated.model)[1, 3:]
        alone = logits(ablated.model, **batch([[11, 12, 13]]))[0]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
