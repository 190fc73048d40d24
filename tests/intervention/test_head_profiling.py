from __future__ import annotations

from dataclasses import replace

import pytest
from intervention_kit import subject

from mithridate.core.errors import ConfigError
from mithridate.intervention.attention_steering import AttentionSteering
from mithridate.intervention.base import MadeFor
from mithridate.intervention.head_profiling import all_heads, best_heads, profile, random_heads
from mithridate.models.language_model import LanguageModel

PROMPTS = ["The river is ⟦context⟧wide⟦/context⟧. It is", "⟦context⟧The lamp is red.⟦/context⟧ It is"]
TARGETS, FOILS = [" wide", " red"], [" slow", " old"]


def steering_of(model: LanguageModel) -> AttentionSteering:
    return AttentionSteering(MadeFor.of(model), ((0, 0),), 0.05)


def test_each_head_is_tried_alone_and_the_best_come_first() -> None:
    model = subject()
    steering = steering_of(model)
    found = profile(model, PROMPTS, TARGETS, FOILS, steering)
    assert sorted(one.head for one in found) == list(all_heads(model))
    assert [one.gain for one in found] == sorted((one.gain for one in found), reverse=True)
    bare = [prompt.replace("⟦context⟧", "").replace("⟦/context⟧", "") for prompt in PROMPTS]
    before = sum(model.margins(bare, TARGETS, FOILS)) / 2
    for one in found:
        with replace(steering, heads=(one.head,)).on(model) as steered:
            after = sum(steered.margins(PROMPTS, TARGETS, FOILS)) / 2
        assert one.gain == pytest.approx(after - before)
    assert len({round(one.gain, 6) for one in found}) > 1


def test_only_the_heads_that_are_asked_about_are_tried() -> None:
    model = subject()
    found = profile(model, PROMPTS, TARGETS, FOILS, steering_of(model), [(2, 1), (1, 0)])
    assert {one.head for one in found} == {(2, 1), (1, 0)}


def test_the_best_are_taken_and_of_equal_ones_the_lowest() -> None:
    gains = [((1, 0), 0.5), ((0, 1), 2.0), ((0, 0), 0.5), ((2, 0), -1.0)]
    assert best_heads(gains, 2) == ((0, 1), (0, 0))
    assert best_heads(gains, 9) == ((0, 1), (0, 0), (1, 0), (2, 0))
    assert best_heads(gains, 0) == ()


def test_random_heads_are_as_many_and_follow_the_seed() -> None:
    model = subject()
    one = random_heads(model, 3, seed=1)
    assert one == random_heads(model, 3, seed=1)
    assert len(set(one)) == 3 and set(one) <= set(all_heads(model))
    assert any(random_heads(model, 3, seed=seed) != one for seed in range(2, 8))
    assert random_heads(model, 99, seed=1) == all_heads(model)


def test_prompts_without_targets_are_refused() -> None:
    model = subject()
    for prompts, targets in (([], []), (PROMPTS, TARGETS[:1])):
        with pytest.raises(ConfigError, match="heads are profiled on prompts with a target and a foil each"):
            profile(model, prompts, targets, targets, steering_of(model))
