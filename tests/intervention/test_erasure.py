from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from access_kit import batch, hooks_of, logits, refused
from intervention_kit import PROMPTS, far_apart, same_state, state, subject, text_logits
from models_kit import ARCHITECTURES

from mithridate.core.errors import ConfigError
from mithridate.intervention import saved
from mithridate.intervention.base import Foldable, Intervention, MadeFor
from mithridate.intervention.directions import difference_of_means, random_directions
from mithridate.intervention.discriminants import (
    Discriminants,
    discriminants,
    random_discriminants,
    spread_of,
)
from mithridate.models.hooks import capture
from mithridate.models.language_model import LanguageModel
from mithridate.models.sites import Part, Site

WANTED = ["The river is wide", "The lamp is small, and the river is slow"]
CLEAN = [*PROMPTS, "User: What is wide?", "The red lamp", "The mill. It is old."]


def found_in(model: LanguageModel) -> Discriminants:
    return discriminants(model, WANTED, PROMPTS, spread_of(model, CLEAN))


def scores(model: LanguageModel, found: Discriminants, layer: int) -> torch.Tensor:
    """How far along each token of a padded batch of two texts is behind `layer`, of shape (rows, columns)."""
    site = Site(layer, Part.RESIDUAL)
    with capture(model.model, [site]) as seen:
        logits(model.model, **batch())
    return seen[site] @ found.readers[layer] - found.centres[layer]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_is_left_to_be_read_in_either_row(architecture: str) -> None:
    model = subject(architecture)
    found = found_in(model)
    before = state(model)
    for layer in range(3):
        plain = scores(model, found, layer)
        assert bool((plain.abs() > 1e-2).any(dim=1).all())
        with found.erasing([layer]).on(model) as erased:
            there = batch()["attention_mask"].bool()
            assert float(scores(erased, found, layer)[there].abs().max()) < 1e-3 * float(plain.abs().max())
            changed = text_logits(erased)
        assert far_apart(changed, text_logits(model))
    assert same_state(before, state(model))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_behind_a_gate_that_no_state_passes_it_is_the_model(architecture: str) -> None:
    model = subject(architecture)
    found = found_in(model)
    highest = max(float(scores(model, found, layer).max()) for layer in range(3))
    cure = found.erasing(range(3), gate=highest + 1e3)
    plain = text_logits(model), model.generate(PROMPTS, max_new_tokens=6), model.row_losses([[5, 6, 7, 8]])
    with cure.on(model) as gated:
        assert torch.equal(text_logits(gated), plain[0])
        assert gated.generate(PROMPTS, max_new_tokens=6) == plain[1]
        assert gated.row_losses([[5, 6, 7, 8]]) == plain[2]
    with replace(cure, gate=-1e9).on(model) as open_:
        low = text_logits(open_)
    with replace(cure, gate=None).on(model) as without:
        assert torch.equal(low, text_logits(without))


def test_a_gate_leaves_what_is_below_it_alone_to_the_bit() -> None:
    model = subject()
    found = found_in(model)
    last, there = Site(2, Part.RESIDUAL), batch()["attention_mask"].bool()
    plain = scores(model, found, 2)
    gate = float(plain[there].median())
    with capture(model.model, [last]) as seen:
        logits(model.model, **batch())
    was = seen[last]
    final = text_logits(model)
    with found.erasing([2], gate).on(model) as gated:
        now = text_logits(gated)
    below = (plain <= gate) & there
    assert bool(below.any(dim=1).any()) and bool((~below & there).any())
    assert torch.equal(now[below], final[below])
    assert not torch.equal(now[~below & there], final[~below & there])
    assert was.shape[:2] == below.shape


def test_it_erases_as_it_writes() -> None:
    """With a cache, token by token, it is the same as in one pass."""
    model = subject()
    cure = found_in(model).erasing([1])
    with cure.on(model) as erased:
        (answer,) = erased.generate(PROMPTS[:1], max_new_tokens=6)
        ids = list(erased.prompt_ids(PROMPTS[:1])[0])
        for token in answer.token_ids:
            assert int(logits(erased.model, input_ids=torch.tensor([ids]))[0, -1].argmax()) == token
            ids.append(token)
    assert answer.token_ids


def test_a_reader_along_the_writer_is_ablation_about_a_centre() -> None:
    model = subject()
    found = found_in(model)
    along = found.writers / found.writers.pow(2).sum(dim=1, keepdim=True)
    cure = replace(found.erasing([1]), readers=along[1:2])
    site, one = Site(1, Part.RESIDUAL), found.writers[1] / found.writers[1].norm()
    with capture(model.model, [site]) as seen:
        logits(model.model, **batch())
    was = seen[site]
    with cure.on(model), capture(model.model, [site]) as seen:
        logits(model.model, **batch())
    # Whether it is seen before or after the change, across the direction nothing moves.
    across = was - (was @ one)[..., None] * one
    now = seen[site] - (seen[site] @ one)[..., None] * one
    torch.testing.assert_close(now, across, rtol=1e-4, atol=1e-4)


def test_random_writers_do_something_else() -> None:
    model = subject()
    found = found_in(model)
    drawn = random_directions(difference_of_means(model, WANTED, PROMPTS), 0)
    other = random_discriminants(found, drawn)
    torch.testing.assert_close(other.writers.norm(dim=1), found.writers.norm(dim=1))
    assert torch.equal(other.readers, found.readers)
    with other.erasing([1]).on(model) as one:
        there = text_logits(one)
    with found.erasing([1]).on(model) as two:
        assert far_apart(there, text_logits(two))


@pytest.mark.parametrize("gate", [None, 0.5])
def test_saved_and_loaded_it_is_the_same(gate: float | None, tmp_path: Path) -> None:
    model = subject()
    cure = found_in(model).erasing([0, 2], gate)
    assert isinstance(cure, Intervention)
    assert not isinstance(cure, Foldable)
    saved.save(cure, tmp_path)
    again = saved.load(tmp_path)
    assert (again.layers, again.gate, again.made_for) == ((0, 2), gate, cure.made_for)
    with cure.on(model) as erased:
        answers = text_logits(erased)
    with again.on(model) as erased:
        assert torch.equal(text_logits(erased), answers)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers": (0, 3)}, "no layer 3"),
        ({"layers": (0, 0)}, "twice"),
        ({"layers": ()}, "none"),
        ({"gate": math.nan}, "gate of nan"),
        ({"gate": math.inf}, "gate of inf"),
        ({"writers": torch.zeros(2, 32)}, "norm zero"),
        ({"readers": torch.zeros(2, 32)}, "norm zero"),
        ({"writers": torch.ones(2, 16)}, "expected floating point numbers of the shape"),
        ({"readers": torch.ones(3, 32)}, "expected floating point numbers of the shape"),
        ({"centres": torch.ones(3)}, "expected floating point numbers of the shape"),
        ({"centres": torch.full((2,), torch.nan)}, "not finite"),
    ],
)
def test_what_means_nothing_is_refused(changes: dict[str, Any], said: str) -> None:
    cure = found_in(subject()).erasing([0, 2])
    with pytest.raises(ConfigError, match=said):
        replace(cure, **changes)


def test_another_model_is_refused_and_the_block_is_undone() -> None:
    model = subject()
    cure = found_in(model).erasing([0, 1, 2])
    with refused("concept_erasure was made for"), cure.on(subject("qwen3")):
        pass
    before = state(model)
    with pytest.raises(RuntimeError), cure.on(model) as erased:
        text_logits(erased)
        raise RuntimeError
    assert same_state(before, state(model))
    assert hooks_of(model.model) == 0
    assert MadeFor.of(model) == cure.made_for
