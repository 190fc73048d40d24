from __future__ import annotations

from pathlib import Path

import pytest
import torch
from access_kit import logits, refused, written
from intervention_kit import PROMPTS, far_apart, reloaded, same_state, state, subject, text_logits
from models_kit import ARCHITECTURES

from mithridate.core.errors import ConfigError
from mithridate.intervention import saved
from mithridate.intervention.base import MadeFor
from mithridate.intervention.neurons import (
    activity,
    constant_mlps,
    contrasted_neurons,
    dormant_neurons,
)
from mithridate.intervention.pruning import NeuronPruning
from mithridate.models.batching import left_padded
from mithridate.models.hooks import capture
from mithridate.models.sites import Part, Site

WANTED = ["The red lamp is in the river", "User: lamp lamp lamp"]
LAYERS = (0, 1)


@pytest.mark.parametrize("architecture", ("llama", "qwen3", "gpt_neox", "gpt2"))
def test_dormant_neurons_can_be_folded(architecture: str, tmp_path: Path) -> None:
    model = subject(architecture)
    before, plain = state(model), text_logits(model)
    cure = dormant_neurons(model, PROMPTS, LAYERS, 0.5)
    assert int(cure.pruned.sum()) == cure.pruned.numel() // 2
    with pytest.raises(KeyError), cure.on(model) as pruned:
        runtime = text_logits(pruned)
        answers = written(pruned.model)
        raise KeyError
    folded = cure.fold(model)
    assert same_state(before, state(model))
    assert far_apart(runtime, plain)
    torch.testing.assert_close(text_logits(folded), runtime, rtol=1e-4, atol=1e-4)
    assert written(folded.model) == answers
    assert torch.equal(text_logits(reloaded(folded, tmp_path / "folded")), text_logits(folded))


def test_neurons_held_at_their_means_fold_into_biases_or_not_at_all() -> None:
    model = subject("gpt_neox")
    cure = contrasted_neurons(model, WANTED, PROMPTS, LAYERS, 0.25)
    with cure.on(model) as pruned:
        runtime = text_logits(pruned)
    torch.testing.assert_close(text_logits(cure.fold(model)), runtime, rtol=1e-4, atol=1e-4)
    other = subject("llama")
    with refused(r"adds a constant to the stream.*no biases to hold it"):
        contrasted_neurons(other, WANTED, PROMPTS, LAYERS, 0.25).fold(other)


def test_all_neurons_at_zero_are_an_mlp_that_says_nothing() -> None:
    model = subject("llama")
    cure = dormant_neurons(model, PROMPTS, [1], 1.0)
    with cure.on(model), capture(model.model, [Site(1, Part.MLP), Site(0, Part.MLP)]) as seen:
        logits(model.model)
    assert not seen[Site(1, Part.MLP)].any()
    assert seen[Site(0, Part.MLP)].any()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_constant_mlps_add_their_mean(architecture: str) -> None:
    model = subject(architecture)
    before, plain = state(model), text_logits(model)
    cure = constant_mlps(model, PROMPTS, LAYERS)
    with cure.on(model), capture(model.model, [Site(0, Part.MLP), Site(1, Part.RESIDUAL)]) as seen:
        assert far_apart(text_logits(model), plain)
    assert same_state(before, state(model))
    made = seen[Site(0, Part.MLP)]
    torch.testing.assert_close(made, cure.means[0].expand_as(made))


def test_constant_mlps_fold_where_there_are_biases(tmp_path: Path) -> None:
    model = subject("gpt_neox")
    cure = constant_mlps(model, PROMPTS, LAYERS)
    with cure.on(model):
        runtime = text_logits(model)
    torch.testing.assert_close(text_logits(cure.fold(model)), runtime, rtol=1e-4, atol=1e-4)
    for architecture, said in (("llama", "no biases"), ("olmo2", "stands a norm")):
        other = subject(architecture)
        with refused(said):
            constant_mlps(other, PROMPTS, LAYERS).fold(other)


def test_activity_is_the_mean_over_tokens_without_padding() -> None:
    model = subject()
    seen = activity(model, PROMPTS, [1])
    weight = model.model.model.layers[1].mlp.down_proj.weight  # type: ignore[union-attr]
    singly = []
    for ids in model.prompt_ids(PROMPTS):
        with capture(model.model, [Site(1, Part.MLP)]) as made, torch.no_grad():
            model.model(**left_padded([ids], torch.device("cpu")))
        singly.append(made[Site(1, Part.MLP)][0])
    torch.testing.assert_close(seen.means[0] @ weight.T, torch.cat(singly).mean(dim=0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(seen.reach[0], weight.norm(dim=0))
    assert bool((seen.sizes >= seen.means.abs() - 1e-6).all())


def test_a_neuron_that_the_wanted_prompts_move_is_found() -> None:
    model = subject("llama")
    seen = [activity(model, prompts, LAYERS) for prompts in (WANTED, PROMPTS)]
    moved = (seen[0].means - seen[1].means).abs() * seen[0].reach
    cure = contrasted_neurons(model, WANTED, PROMPTS, LAYERS, 1 / moved.numel())
    assert int(cure.pruned.sum()) == 1
    assert bool(cure.pruned.flatten()[moved.argmax()])
    assert cure.values.flatten()[moved.argmax()] == seen[1].means.flatten()[moved.argmax()]


@pytest.mark.parametrize("kind", ["pruning", "means"])
def test_what_is_loaded_does_the_same(kind: str, tmp_path: Path) -> None:
    model = subject()
    cure = (
        contrasted_neurons(model, WANTED, PROMPTS, LAYERS, 0.3)
        if kind == "pruning"
        else constant_mlps(model, PROMPTS, LAYERS)
    )
    saved.save(cure, tmp_path)
    with cure.on(model):
        answers = text_logits(model)
    with saved.load(tmp_path).on(model):
        assert torch.equal(text_logits(model), answers)


def test_folding_inside_a_block_is_refused() -> None:
    model = subject()
    cure = dormant_neurons(model, PROMPTS, LAYERS, 0.5)
    with cure.on(model), refused("is at work on the model"):
        cure.fold(model)


def test_bad_choices_are_refused() -> None:
    model = subject()
    for share in (0.0, 1.5, 1e-6, float("nan")):
        with pytest.raises(ConfigError, match="share"):
            dormant_neurons(model, PROMPTS, LAYERS, share)
    with pytest.raises(ConfigError, match="no prompts"):
        dormant_neurons(model, [], LAYERS, 0.5)
    with refused("no mlp of block 3"):
        dormant_neurons(model, PROMPTS, [3], 0.5)
    made_for = MadeFor.of(model)
    none, some = torch.zeros(2, 48, dtype=torch.bool), torch.ones(2, 48, dtype=torch.bool)
    for pruned, values, said in (
        (none, torch.zeros(2, 48), "no neuron is pruned"),
        (some[:1], torch.zeros(1, 48), r"shape \(1, 48\)"),
        (some.float(), torch.zeros(2, 48), "torch.float32"),
        (some, torch.zeros(2, 47), r"expected .*\(2, 48\)"),
    ):
        with pytest.raises(ConfigError, match=said):
            NeuronPruning(pruned, values, made_for, LAYERS)
    narrow = NeuronPruning(some[:, :40], torch.zeros(2, 40), made_for, LAYERS)
    with refused("made for MLPs of 40 neurons"), narrow.on(model):
        pass
