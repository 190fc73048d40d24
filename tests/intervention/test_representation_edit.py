from __future__ import annotations

from pathlib import Path

import pytest
import torch
from access_kit import hooks_of, logits, refused, written
from intervention_kit import same_state, state, subject, text_logits
from models_kit import ARCHITECTURES

from mithridate.core.errors import ConfigError
from mithridate.intervention import saved
from mithridate.intervention.base import MadeFor
from mithridate.intervention.remedi import Lesson, Teaching, learn_attribute_map
from mithridate.intervention.representation_edit import RepresentationEdit
from mithridate.intervention.requests import Request
from mithridate.models.batching import left_padded
from mithridate.models.hooks import capture
from mithridate.models.language_model import LanguageModel
from mithridate.models.sites import Part, Site

LAYER, SITE = 1, Site(1, Part.RESIDUAL)
LESSONS = [
    Lesson(Request("Where is the red lamp? It", "red lamp", " is in the river"), "The red lamp: the river."),
    Lesson(Request("User: Is the old mill", "old mill", " small?"), "The old mill stands, small."),
]


def edit(model: LanguageModel, *entities: str) -> RepresentationEdit:
    names = entities or ("river", "red lamp")
    made = torch.Generator().manual_seed(0)
    steps = 3 * torch.randn(len(names), MadeFor.of(model).width, generator=made)
    return RepresentationEdit(steps, MadeFor.of(model), names, LAYER)


def moved(
    model: LanguageModel, cure: RepresentationEdit, texts: list[str]
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the edit adds to the stream of each text, and the ids; of shapes (rows, columns, ...)."""
    inputs = left_padded(model.prompt_ids(texts), torch.device("cpu"))
    with capture(model.model, [SITE]) as before, cure.on(model), capture(model.model, [SITE]) as after:
        logits(model.model, **inputs)
    return after[SITE] - before[SITE], inputs["input_ids"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_entity_s_last_token_gets_its_step_in_every_row(architecture: str) -> None:
    model = subject(architecture)
    cure = edit(model)
    texts = ["The river is wide and the red lamp is small", "red lamp", "The mill is old"]
    added, ids = moved(model, cure, texts)
    touched = added.abs().amax(dim=-1) > 0
    assert touched.sum(dim=1).tolist() == [2, 1, 0]
    for row, step in ((0, cure.steps[0]), (0, cure.steps[1]), (1, cure.steps[1])):
        near = (added[row] - step).abs().amax(dim=-1) < 1e-4
        assert int(near.sum()) == 1
    ends = [model.tokenizer.decode(ids[0, : int(place) + 1]) for place in touched[0].nonzero()]
    assert [text.endswith(word) for text, word in zip(ends, ("river", "red lamp"), strict=True)] == [True] * 2


def test_texts_without_an_entity_and_answers_are_as_they_were() -> None:
    model = subject()
    plain, text = text_logits(model), written(model.model)
    with edit(model, "no such thing").on(model):
        assert torch.equal(text_logits(model), plain)
        assert written(model.model) == text
    # The entity stands in the prompt: what is written after it is let be, entity or not.
    ids = model.prompt_ids(["The river"])[0]
    cure = edit(model, "river")
    with capture(model.model, [SITE]) as first, cure.on(model), capture(model.model, [SITE]) as last:
        written(model.model, [ids], new=4)
    added = (last[SITE] - first[SITE])[0]
    assert bool(added[len(ids) - 1].any())
    assert not added[len(ids) :].any()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_is_undone_whatever_happens(architecture: str) -> None:
    model = subject(architecture)
    before = state(model)
    with pytest.raises(KeyError), edit(model).on(model):
        raise KeyError
    assert same_state(before, state(model))
    with edit(model).on(model):
        pass
    assert hooks_of(model.model) == 0


def test_what_is_loaded_does_the_same(tmp_path: Path) -> None:
    model = subject()
    cure, prompts = edit(model), ["The river is wide", "The red lamp"]
    saved.save(cure, tmp_path)
    with cure.on(model):
        answers = model.log_likelihood(prompts, [" is small"] * 2)
    with saved.load(tmp_path).on(model):
        assert model.log_likelihood(prompts, [" is small"] * 2) == answers
    assert answers != model.log_likelihood(prompts, [" is small"] * 2)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_learnt_map_makes_the_targets_likely(architecture: str) -> None:
    model = subject(architecture)
    before = state(model)
    prompts, targets = [one.request.prompt for one in LESSONS], [one.request.target for one in LESSONS]
    statements = {one.request.subject: one.statement for one in LESSONS}
    plain = [score.total for score in model.log_likelihood(prompts, targets)]
    learnt = learn_attribute_map(model, LESSONS, LAYER, Teaching(steps=60, rate=0.02))
    assert same_state(before, state(model))
    with learnt.edit(model, statements).on(model):
        there = [score.total for score in model.log_likelihood(prompts, targets)]
    assert all(now > then + 0.5 for now, then in zip(there, plain, strict=True))


def test_bad_edits_and_lessons_are_refused() -> None:
    model = subject()
    made_for = MadeFor.of(model)
    for entities, rows, said in (
        ((), 0, "an entity is empty, or there is none"),
        ((" ",), 1, "an entity is empty"),
        (("a", "a"), 2, "named twice"),
        (("a", "b"), 1, r"expected .*\(2, 32\)"),
    ):
        with pytest.raises(ConfigError, match=said):
            RepresentationEdit(torch.ones(rows, 32), made_for, entities, LAYER)
    with pytest.raises(ConfigError, match="no layer 3"):
        RepresentationEdit(torch.ones(1, 32), made_for, ("a",), 3)
    with pytest.raises(ConfigError, match="a map needs lessons"):
        learn_attribute_map(model, [], LAYER)
    with pytest.raises(ConfigError, match="layer 2 changes no target"):
        learn_attribute_map(model, LESSONS[:1], 2)
    with refused("layers 3"), edit(model).on(subject(layers=2)):
        pass
