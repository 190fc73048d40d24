from __future__ import annotations

import copy

import pytest
import torch
from access_kit import refused
from intervention_kit import some_direction, subject
from models_kit import TEXT, trained_tokenizer

from mithridate.core.errors import ConfigError
from mithridate.intervention.ablation import DirectionalAblation
from mithridate.intervention.base import INTERVENTIONS, Foldable, Intervention, MadeFor
from mithridate.models.language_model import LanguageModel


def test_every_registered_class_is_an_intervention_of_its_name() -> None:
    names = INTERVENTIONS.names()
    assert {"directional_ablation", "neuron_pruning", "rank_one_edit", "steering"} <= set(names)
    for name in names:
        kind = INTERVENTIONS.get(name)
        assert kind.name == name
        assert hasattr(kind, "on")


def test_an_ablation_follows_both_protocols() -> None:
    model = subject()
    cure = DirectionalAblation(some_direction(model), MadeFor.of(model))
    assert isinstance(cure, Intervention)
    assert isinstance(cure, Foldable)


def test_a_model_s_own_build_is_accepted_whatever_its_weights() -> None:
    MadeFor.of(subject(seed=0)).require(subject(seed=1), "test")


def test_tokens_that_alignment_adds_make_no_difference() -> None:
    model = subject()
    added = copy.deepcopy(model.tokenizer)
    added.add_tokens(["<|tool|>"], special_tokens=True)
    assert MadeFor.of(LanguageModel(model.model, added)) == MadeFor.of(model)


def test_tokens_added_since_it_was_last_asked_are_known() -> None:
    """A token that was learnt and is then declared special is no longer one of those that were learnt."""
    model = LanguageModel(subject().model, trained_tokenizer(TEXT, 360))
    before = MadeFor.of(model)
    assert MadeFor.of(model) == before
    model.tokenizer.add_tokens(["<|tool|>"], special_tokens=True)
    assert MadeFor.of(model) == before
    model.tokenizer.add_tokens([model.tokenizer.convert_ids_to_tokens(300)], special_tokens=True)
    assert MadeFor.of(model).tokens == before.tokens - 1
    assert MadeFor.of(model).vocabulary != before.vocabulary


def test_another_build_is_refused_by_what_differs() -> None:
    model = subject()
    made_for = MadeFor.of(model)
    fewer = trained_tokenizer(["The old mill stands by the river."], 300)
    same_number = copy.deepcopy(made_for).model_copy(update={"vocabulary": "0" * 16})
    for there, other, said in (
        (made_for, subject("gpt_neox"), "architecture llama .here gpt_neox"),
        (made_for, subject(layers=2), "layers 3 .here 2"),
        (made_for, subject(hidden_size=64), "width 32 .here 64"),
        (made_for, LanguageModel(model.model, fewer), "tokens [0-9]+ .here"),
        (same_number, model, "vocabulary of other tokens"),
    ):
        with refused(f"test was made for a model with .*{said}.*or make it anew from this one"):
            there.require(other, "test")


def test_layers_and_tensors_are_checked() -> None:
    made_for = MadeFor.of(subject())
    made_for.require_layers([2, 0], "test")
    for layers, said in (
        ([], "are none"),
        ([1, 1], "one of them twice"),
        ([3], "no layer 3; the model has the layers 0 to 2"),
        ([-1], "no layer -1"),
    ):
        with pytest.raises(ConfigError, match=said):
            made_for.require_layers(layers, "test")
    with pytest.raises(ConfigError, match="not finite"):
        made_for.require_tensor(torch.full((32,), float("inf")), (32,), "test")
