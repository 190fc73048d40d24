from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from access_kit import batch, hooks_of, logits, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from intervention_kit import same_state, state, subject
from steering_kit import generated, greedy, says
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from mithridate.core.errors import ConfigError
from mithridate.intervention import saved
from mithridate.intervention.attention_steering import AttentionSteering, Head, attention_steered
from mithridate.intervention.base import Intervention, MadeFor
from mithridate.intervention.prompt_filter import PromptFilter
from mithridate.models.language_model import LanguageModel

ARCHITECTURES = ("llama", "qwen3", "olmo2", "gpt_neox")
ROWS = [[5, 6, 7, 8, 9, 10, 30, 31], [11, 12, 13], [20, 21, 22, 23, 24]]
FLAGS = [[0, 0, 1, 1, 1, 0, 0, 0], [0, 0, 0], [1, 1, 0, 0, 0]]
HEADS = ((0, 1), (2, 0), (2, 1))
TEXTS = [
    "The river is ⟦context⟧wide and slow⟦/context⟧, and the lamp",
    "⟦context⟧The old⟦/context⟧ mill",
    "It is",
]
BARE = ["The river is wide and slow, and the lamp", "The old mill", "It is"]


def steering_of(model: LanguageModel, **options: Any) -> AttentionSteering:
    return AttentionSteering(**{"made_for": MadeFor.of(model), "heads": HEADS, "alpha": 0.01, **options})


@contextmanager
def attending_by(
    model: PreTrainedModel, inside: Sequence[int], heads: Sequence[Head], alpha: float
) -> Iterator[None]:
    """The definition, for one row without a cache: weights behind the softmax, scaled, sum to 1 again."""

    def attention(
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        _: Any,
        scaling: float,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        times = query.shape[1] // key.shape[1]
        key, value = (one.repeat_interleave(times, dim=1) for one in (key, value))
        later = torch.ones(query.shape[2], key.shape[2]).triu(1).bool()
        weights = (query @ key.transpose(2, 3) * scaling).masked_fill(later, -math.inf).softmax(dim=-1)
        factors = torch.ones_like(weights)
        outside = torch.ones(key.shape[2], dtype=torch.bool)
        outside[: len(inside)] = ~torch.tensor(inside).bool()
        for layer, head in heads if any(inside) else ():
            if layer == module.layer_idx:
                factors[:, head, :, outside] = alpha
        weights = weights * factors
        weights = weights / weights.sum(dim=-1, keepdim=True)
        return (weights @ value).transpose(1, 2).contiguous(), weights

    ALL_ATTENTION_FUNCTIONS.register("by_definition", attention)
    before = model.config._attn_implementation
    model.config._attn_implementation = "by_definition"
    try:
        yield
    finally:
        model.config._attn_implementation = before


def defined(model: PreTrainedModel, row: int, ids: list[int], alpha: float = 0.01) -> torch.Tensor:
    with attending_by(model, FLAGS[row], HEADS, alpha), torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
    return found


def flags(rows: Sequence[Sequence[int]] = FLAGS) -> list[list[bool]]:
    return [[bool(flag) for flag in row] for row in rows]


@pytest.mark.parametrize("how", ["eager", "sdpa"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_is_what_the_definition_gives_row_by_row(architecture: str, how: str) -> None:
    model = subject(architecture).model
    model.set_attn_implementation(how)
    with attention_steered(model, HEADS, alpha=0.01) as steered, steered.reading(flags()):
        found = logits(model, **batch(ROWS))
    plain = logits(model, **batch(ROWS))
    for number, ids in enumerate(ROWS):
        assert torch.allclose(found[number, -len(ids) :], defined(model, number, ids), atol=1e-4)
    assert not torch.allclose(found[0], plain[0], atol=1e-2)
    assert torch.allclose(found[1, -3:], plain[1, -3:], atol=1e-5)


@pytest.mark.parametrize("how", ["eager", "sdpa"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_generation_with_a_cache_is_what_the_definition_gives(architecture: str, how: str) -> None:
    model = subject(architecture).model
    model.set_attn_implementation(how)
    with attention_steered(model, HEADS, alpha=0.01) as steered, steered.reading(flags()):
        found = generated(model, ROWS, 10)
    wanted = [
        greedy(lambda ids, number=number: defined(model, number, ids)[-1], row, 10)
        for number, row in enumerate(ROWS)
    ]
    assert found == wanted
    plain = [greedy(says(model), row, 10) for row in ROWS]
    assert found[1] == plain[1]
    assert found != plain


@given(
    st.lists(
        st.lists(st.tuples(st.integers(5, 300), st.booleans()), min_size=1, max_size=9),
        min_size=1,
        max_size=4,
    ),
    st.floats(0.001, 1.0),
)
@settings(max_examples=20, deadline=None)
def test_any_rows_with_any_flags_are_what_the_definition_gives(
    marked: list[list[tuple[int, bool]]], alpha: float
) -> None:
    model = subject().model
    rows, told = ([[one[part] for one in row] for row in marked] for part in (0, 1))
    with attention_steered(model, HEADS, alpha=alpha) as steered, steered.reading(flags(told)):
        found = logits(model, **batch(rows))
    for number, (ids, inside) in enumerate(zip(rows, told, strict=True)):
        with attending_by(model, inside, HEADS, alpha):
            wanted = logits(model, input_ids=torch.tensor([ids]), use_cache=False)[0]
        assert torch.allclose(found[number, -len(ids) :], wanted, atol=1e-3)


def test_layers_that_see_the_last_tokens_alone_are_steered_too() -> None:
    """Gemma 2 keeps the keys of a window in every other layer."""
    model = subject("gemma2", overrides={"sliding_window": 4}).model
    with attention_steered(model, HEADS, alpha=0.01) as steered:
        with steered.reading(flags()):
            found = generated(model, ROWS, 8)
        for number, row in enumerate(ROWS):
            with steered.reading([flags()[number]]):
                assert found[number] == greedy(says(model), row, 8)
    assert found != generated(model, ROWS, 8)


def test_beams_follow_their_rows() -> None:
    model = subject().model
    with attention_steered(model, HEADS, alpha=0.01) as steered:
        with steered.reading(flags()):
            together = generated(model, ROWS, 8, num_beams=3)
        alone = []
        for row, marks in zip(ROWS, flags(), strict=True):
            with steered.reading([marks]):
                alone += generated(model, [row], 8, num_beams=3)
    assert together == alone


def test_keys_shared_by_heads_are_steered_head_by_head() -> None:
    model = subject("llama", heads=4, overrides={"num_key_value_heads": 2}).model
    heads = ((0, 1), (1, 2))
    for how in ("eager", "sdpa"):
        model.set_attn_implementation(how)
        with attention_steered(model, heads, alpha=0.01) as steered, steered.reading(flags()):
            found = generated(model, ROWS, 6)
        for number, row in enumerate(ROWS):
            with attending_by(model, FLAGS[number], heads, 0.01):
                assert found[number] == greedy(says(model), row, 6)


def test_other_heads_are_as_they_were_and_chosen_ones_look_at_what_is_marked() -> None:
    model = subject().model
    model.set_attn_implementation("eager")
    inputs = batch(ROWS[:1])
    with torch.no_grad():
        plain = model(**inputs, output_attentions=True).attentions
        with attention_steered(model, [(0, 1)], alpha=0.01) as steered, steered.reading(flags()[:1]):
            found = model(**inputs, output_attentions=True).attentions
    assert torch.equal(found[0][:, 0], plain[0][:, 0])
    marked = torch.tensor(flags()[0])
    last = (0, 1, -1)
    assert float(found[0][last][marked].sum()) > float(plain[0][last][marked].sum())
    wanted = plain[0][last] * torch.where(marked, 1.0, 0.01)
    assert torch.allclose(found[0][last], wanted / wanted.sum(), atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_alpha_one_is_the_model_to_the_bit(architecture: str) -> None:
    model = subject(architecture)
    plain = model.log_likelihood(BARE, [" lamp."] * 3), model.generate(BARE, max_new_tokens=12)
    for idle in (steering_of(model, alpha=1.0), steering_of(model, heads=())):
        with idle.on(model) as same:
            found = same.log_likelihood(TEXTS, [" lamp."] * 3), same.generate(TEXTS, max_new_tokens=12)
        assert found == plain


@given(st.floats(0.001, 1.0), st.integers(0, 2**16))
@settings(max_examples=15, deadline=None)
def test_prompts_without_a_mark_are_answered_as_ever_to_the_bit(alpha: float, seed: int) -> None:
    model = subject()
    plain = (
        model.generate(BARE, max_new_tokens=6, sampled=True, seed=seed),
        model.margins(BARE, ["a"] * 3, ["b"] * 3),
    )
    with steering_of(model, alpha=alpha).on(model) as steered:
        again = steered.generate(BARE, max_new_tokens=6, sampled=True, seed=seed)
        assert (again, steered.margins(BARE, ["a"] * 3, ["b"] * 3)) == plain
        empty = steered.generate(["⟦context⟧⟦/context⟧It is"], max_new_tokens=6)
    assert empty == model.generate(["It is"], max_new_tokens=6)


def test_answers_do_not_depend_on_what_they_are_batched_with() -> None:
    model = subject()
    limits = [3, 20, 11, 20, 7]
    prompts = [*TEXTS, BARE[0], TEXTS[0]]
    with steering_of(model).on(model) as steered:
        together = steered.generate(prompts, max_new_tokens=limits)
        alone = [
            steered.generate([prompt], max_new_tokens=limit)[0]
            for prompt, limit in zip(prompts, limits, strict=True)
        ]
        scores = steered.log_likelihood(prompts, [" lamp."] * 5)
    assert [one.text for one in together] == [one.text for one in alone]
    assert together[1].text != model.generate([BARE[1]], max_new_tokens=20)[0].text
    assert scores[0].total == pytest.approx(scores[4].total, abs=1e-4)
    assert scores[0].total != pytest.approx(scores[3].total, abs=1e-3)


def test_scores_are_what_the_definition_gives() -> None:
    model = subject()
    text = " lamp and the river"
    prompt, rest = model.continuation_ids(BARE[0], text)
    with steering_of(model).on(model) as steered:
        (score,) = steered.log_likelihood(TEXTS[:1], [text])
        inside = [int(token < 0) for token in steered._encode(TEXTS[:1])[0].beside]
    ids = torch.tensor([[*prompt, *rest]])
    with attending_by(model.model, inside, HEADS, 0.01), torch.no_grad():
        said = model.model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    wanted = said.gather(-1, torch.tensor(rest)[:, None]).sum()
    assert score.total == pytest.approx(float(wanted), abs=1e-3)


@pytest.mark.parametrize("text", ["wide and slow", " wide", "ide and sl", "The", "river"])
def test_tokens_that_hold_a_marked_character_are_marked(text: str) -> None:
    model = subject()
    start = BARE[0].index(text)
    prompt = f"{BARE[0][:start]}⟦context⟧{text}⟦/context⟧{BARE[0][start + len(text) :]}"
    with steering_of(model).on(model) as steered:
        (encoded,) = steered._encode([prompt])
    ids = model.prompt_ids([BARE[0]])[0]
    assert encoded.ids == ids
    flagged = [place for place, token in enumerate(encoded.beside) if token < 0]
    assert flagged == list(range(flagged[0], flagged[-1] + 1))
    assert text in model.tokenizer.decode([ids[place] for place in flagged])
    inner = [ids[place] for place in flagged[1:-1]]
    assert model.tokenizer.decode(inner).strip() in text


def test_nothing_is_left_behind_whatever_happens() -> None:
    model = subject()
    before = state(model)
    cure = steering_of(model)
    assert isinstance(cure, Intervention)
    with pytest.raises(RuntimeError, match="stop"), cure.on(model) as steered:
        steered.generate(TEXTS, max_new_tokens=4)
        assert hooks_of(model.model) > 0
        raise RuntimeError("stop")
    assert same_state(before, state(model))


def test_what_is_loaded_answers_as_what_was_saved(tmp_path: Path) -> None:
    model = subject()
    cure = steering_of(model, opening="<<", closing=">>")
    saved.save(cure, tmp_path)
    again = saved.load(tmp_path)
    assert again == cure
    prompt = f"The river is {cure.marked('wide')}. It"
    with cure.on(model) as steered:
        wanted = steered.generate([prompt], max_new_tokens=8)
    with again.on(model) as steered:
        assert steered.generate([prompt], max_new_tokens=8) == wanted


def test_a_filter_of_prompts_may_stand_around_it_and_not_within() -> None:
    model = subject()
    cure, filtering = steering_of(model), PromptFilter(MadeFor.of(model), ("slow",))
    with cure.on(model) as steered, filtering.on(steered) as both:
        (found,) = both.generate(["The slow river is ⟦context⟧wide⟦/context⟧ and"], max_new_tokens=6)
        assert found == steered.generate(["The river is ⟦context⟧wide⟦/context⟧ and"], max_new_tokens=6)[0]
    with filtering.on(model) as filtered, cure.on(filtered) as both, refused("is not what was marked"):
        both.generate(["The slow river is ⟦context⟧wide⟦/context⟧ and"], max_new_tokens=6)


@pytest.mark.parametrize(
    "options",
    [
        {"heads": ((0, 1), (0, 1))},
        {"heads": ((3, 0),)},
        {"heads": ((0, -1),)},
        {"alpha": 0.0},
        {"alpha": 1.5},
        {"alpha": math.nan},
        {"opening": "<", "closing": "<"},
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="attention_steering: "):
        steering_of(subject(), **options)


def test_marks_that_do_not_fit_and_prompts_too_long_are_refused() -> None:
    model = subject()
    with steering_of(model).on(model) as steered:
        for prompt in ("⟦context⟧a", "a⟦/context⟧", "⟦context⟧a⟦/context⟧⟦context⟧b⟦/context⟧"):
            with pytest.raises(ConfigError, match="attention_steering: "):
                steered.generate([prompt], max_new_tokens=2)
        with pytest.raises(ConfigError, match="exceeds the context window"):
            steered.generate([f"⟦context⟧The⟦/context⟧{' river' * 200}"], max_new_tokens=4)


def test_heads_and_attention_that_a_model_does_not_have_are_refused() -> None:
    model = subject()
    with refused("has no head 2"), steering_of(model, heads=((0, 2),)).on(model):
        pass
    with refused("was made for a model"), steering_of(subject("qwen3")).on(model):
        pass
    before = model.model.config._attn_implementation
    model.model.config._attn_implementation = "flash_attention_2"
    try:
        with refused("attends by 'flash_attention_2'.*load it with"), steering_of(model).on(model):
            pass
    finally:
        model.model.config._attn_implementation = before
    assert hooks_of(model.model) == 0


def test_rows_of_which_nobody_was_told_are_refused() -> None:
    model = subject().model
    with attention_steered(model, HEADS, alpha=0.01) as steered:
        with steered.reading(flags()[:2]), refused("3 rows go through the model, and 2 were"):
            logits(model, **batch(ROWS))
        with steered.reading(flags()), refused("holds only a part of a prompt of 8"):
            logits(model, **batch([row[:3] for row in ROWS]))
        with torch.no_grad():
            cache = model(**batch(ROWS), use_cache=True).past_key_values
            with steered.reading(flags()), refused("begin with an empty cache"):
                model(input_ids=torch.tensor([[5]] * 3), past_key_values=cache)


def test_another_alpha_and_other_heads_answer_otherwise() -> None:
    model = subject()
    cure = steering_of(model)
    answers = []
    for other in (cure, replace(cure, alpha=0.5), replace(cure, heads=((1, 0),))):
        with other.on(model) as steered:
            answers.append(steered.log_likelihood(TEXTS[:1], [" lamp and the river"])[0].total)
    assert len(set(answers)) == 3
