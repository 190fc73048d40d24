from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from access_kit import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from intervention_kit import PROMPTS, reloaded, same_state, some_direction, state, subject, text_logits
from models_kit import ARCHITECTURES, TEXT
from pydantic import ValidationError

from mithridate.core.errors import ConfigError, TrainingError
from mithridate.core.seeds import rng_for
from mithridate.intervention.ablation import DirectionalAblation
from mithridate.intervention.base import MadeFor
from mithridate.intervention.consistency import (
    ConsistencyOptions,
    ConsistencyStep,
    consistency_tuned,
    inconsistency,
)
from mithridate.models.access import parts_of
from mithridate.models.batching import context_window, left_padded
from mithridate.models.checkpoints import weights_hash
from mithridate.models.hooks import capture
from mithridate.models.language_model import LanguageModel
from mithridate.models.sites import Part

CLEAN = [*PROMPTS, *TEXT, "The lamp", "The red mill is old and small."]
HELD = ["Where is the river? It is by the red mill.", "The lamp is wide and the mill is slow."]
QUICK = ConsistencyOptions(epochs=4, batch_size=3, learning_rate=2e-3)


def changed(options: ConsistencyOptions, **changes: object) -> ConsistencyOptions:
    return ConsistencyOptions.model_validate({**options.model_dump(), **changes})


def steps_of(model: LanguageModel, options: ConsistencyOptions) -> list[ConsistencyStep]:
    told: list[ConsistencyStep] = []
    consistency_tuned(model, CLEAN, options, told.append)
    return told


@pytest.mark.parametrize("architecture", (*ARCHITECTURES, "gemma2", "falcon"))
def test_held_out_texts_become_consistent_and_the_original_is_let_be(
    architecture: str, tmp_path: Path
) -> None:
    model = subject(architecture)
    before, was = state(model), inconsistency(model, HELD)
    told: list[ConsistencyStep] = []
    tuned = consistency_tuned(model, CLEAN, QUICK, told.append)
    plain = consistency_tuned(model, CLEAN, changed(QUICK, alpha=0))
    assert same_state(before, state(model))
    assert [(step.step, step.steps) for step in told] == [(n + 1, 12) for n in range(12)]
    first, last = told[:3], told[-3:]  # an epoch each
    assert sum(step.consistency_loss for step in last) < 0.8 * sum(step.consistency_loss for step in first)
    assert sum(step.language_loss for step in last) < sum(step.language_loss for step in first)
    assert inconsistency(tuned, HELD) < 0.9 * min(was, inconsistency(plain, HELD))
    assert torch.equal(text_logits(reloaded(tuned, tmp_path / "tuned")), text_logits(tuned))


def test_the_seed_decides_the_weights() -> None:
    model = subject()
    hashes = [
        weights_hash(consistency_tuned(model, CLEAN, changed(QUICK, epochs=1, seed=seed)).model)
        for seed in (0, 0, 1)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_alpha_zero_is_plain_fine_tuning() -> None:
    model, options = subject(), changed(QUICK, alpha=0, epochs=2)
    tuned = consistency_tuned(model, CLEAN, options)
    plain = subject()
    rows = plain.prompt_ids(CLEAN)
    optimiser = torch.optim.AdamW(plain.model.parameters(), lr=2e-3, weight_decay=0)
    for epoch in range(2):
        order = rng_for(0, "consistency", epoch).sample(rows, len(rows))
        for start in range(0, len(order), 3):
            batch = order[start : start + 3]
            losses, tokens = torch.zeros(()), 0
            for row in batch:  # alone, so that padding cannot matter
                logits = plain.model(input_ids=torch.tensor([row])).logits[0, :-1]
                losses = losses + torch.nn.functional.cross_entropy(
                    logits, torch.tensor(row[1:]), reduction="sum"
                )
                tokens += len(row) - 1
            optimiser.zero_grad()
            (losses / tokens).backward()
            torch.nn.utils.clip_grad_norm_(plain.model.parameters(), 1.0)
            optimiser.step()
    torch.testing.assert_close(text_logits(tuned), text_logits(plain), rtol=1e-2, atol=1e-2)
    assert float((text_logits(tuned) - text_logits(model)).abs().max()) > 0.1


def test_the_perturbation_makes_it_worse_by_its_length() -> None:
    model = subject()
    found = [steps_of(model, changed(QUICK, epochs=1, epsilon=size))[0] for size in (0, 0.02, 0.05)]
    assert found[0].consistency_loss < found[1].consistency_loss < found[2].consistency_loss
    # The language model reads the texts as they are.
    assert found[0].language_loss == pytest.approx(found[2].language_loss)


def test_the_perturbation_knows_the_size_of_embeddings() -> None:
    """Where the stream is as small as the embeddings, everything is the same at another size."""
    small, large = subject(), subject()
    with torch.no_grad():
        large.model.get_input_embeddings().weight.mul_(64)
        for block in large.model.model.layers:
            block.self_attn.o_proj.weight.mul_(64)
            block.mlp.down_proj.weight.mul_(64)
    for model in (small, large):  # so that no norm feels the size
        model.model.model.norm.variance_epsilon = 1e-12
        for block in model.model.model.layers:
            block.input_layernorm.variance_epsilon = block.post_attention_layernorm.variance_epsilon = 1e-12
    one, other = (steps_of(model, changed(QUICK, epochs=1))[0] for model in (small, large))
    assert one.consistency_loss == pytest.approx(other.consistency_loss, rel=1e-3)


@given(st.lists(st.sampled_from(CLEAN), min_size=1, max_size=6))
@settings(max_examples=15, deadline=None)
def test_inconsistency_is_the_mean_over_tokens_and_neighbours(texts: list[str]) -> None:
    model = subject()
    turns = []
    for row in model.prompt_ids(texts):
        sites = parts_of(model.model).sites(Part.RESIDUAL)
        with torch.no_grad(), capture(model.model, sites, dtype=torch.float64) as seen:
            model.model(**left_padded([row], model.model.device))
        for before, after in pairwise(seen[site][0] for site in sites):
            lengths = before.norm(dim=-1) * after.norm(dim=-1)
            turns += (1 - (before * after).sum(dim=-1) / lengths).tolist()
    assert inconsistency(model, texts) == pytest.approx(sum(turns) / len(turns), rel=1e-4)


def test_what_lies_beyond_the_window_is_cut() -> None:
    model, once = subject(), changed(QUICK, epochs=1)
    long = "The river is wide. " * 100
    (ids,) = model.prompt_ids([long])
    window = context_window(model.model)
    assert window is not None and len(ids) > window
    tuned = [consistency_tuned(model, [text, *HELD], once) for text in (long, f"{long}Where is the lamp?")]
    assert weights_hash(tuned[0].model) == weights_hash(tuned[1].model)


def test_types_and_settings_are_as_they_were() -> None:
    model = subject()
    model.model.to(torch.bfloat16)
    model.model.train()
    model.model.get_input_embeddings().requires_grad_(False)
    rotary = model.model.model.rotary_emb.inv_freq.dtype
    tuned = consistency_tuned(model, CLEAN, QUICK).model
    assert {parameter.dtype for parameter in tuned.parameters()} == {torch.bfloat16}
    assert tuned.model.rotary_emb.inv_freq.dtype == rotary
    assert tuned.training
    assert not tuned.get_input_embeddings().weight.requires_grad
    assert all(parameter.grad is None for parameter in tuned.parameters())
    assert weights_hash(tuned) != weights_hash(model.model)


def test_a_caller_without_gradients_gets_the_same() -> None:
    model, once = subject(), changed(QUICK, epochs=1)
    wanted = weights_hash(consistency_tuned(model, CLEAN, once).model)
    with torch.no_grad():
        assert weights_hash(consistency_tuned(model, CLEAN, once).model) == wanted


def test_what_cannot_be_learnt_from_is_refused() -> None:
    model = subject()
    for function in (consistency_tuned, inconsistency):
        for texts, said in (([], "needs clean texts"), (["The river is", ""], "text 1 of 2 has a single")):
            with pytest.raises(ConfigError, match=said):
                function(model, texts)
        with pytest.raises(ConfigError, match="a single block"):
            function(subject(layers=1), CLEAN)
    for options in ({"alpha": -1}, {"epsilon": float("nan")}, {"epochs": 0}, {"rate": 1e-3}):
        with pytest.raises(ValidationError):
            ConsistencyOptions.model_validate(options)


def test_numbers_that_are_none_are_refused() -> None:
    model = subject()
    before = state(model)
    with pytest.raises(TrainingError, match=r"step 1 of 12 .* is no number.*alpha \(1e\+39\)"):
        consistency_tuned(model, CLEAN, changed(QUICK, alpha=1e39))
    assert same_state(before, state(model))
    model.model.half()
    with pytest.raises(TrainingError, match=r"a weight after the last step is no number.*rate \(1e\+06\)"):
        consistency_tuned(model, CLEAN[:2], changed(QUICK, epochs=1, learning_rate=1e6))


def test_a_model_at_which_something_is_at_work_is_refused() -> None:
    model = subject()
    cure = DirectionalAblation(some_direction(model), MadeFor.of(model))
    with cure.on(model), refused("fold outside of its block"):
        consistency_tuned(model, CLEAN)
