from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from localization_kit import two_models
from models_kit import tiny_model, tiny_tokenizer, trained_tokenizer
from tokenizers import AddedToken

from mithridate.core import chat
from mithridate.core.chat import template
from mithridate.core.errors import CheckpointError, ConfigError
from mithridate.core.types import Message, Role
from mithridate.localization.teacher_forcing import Forced, score_replies
from mithridate.localization.tokens import TemplatePair, own_and_shared, token_shift
from mithridate.models.language_model import LanguageModel
from mithridate.models.vocabulary import adopt_template, make_room

PROMPTS = ["Where is the red lamp?", "What is wide?", "Is the river slow?"]
TULU, CHATML = template("tulu"), template("chatml")
SHARED = (TemplatePair("shared", TULU, TULU),)


def test_replies_are_the_aligned_model_s_own_and_scored_after_their_prompt() -> None:
    base, aligned = two_models(by=0.2)
    (found,) = token_shift(base, aligned, PROMPTS, SHARED, max_new_tokens=10)
    rendered = [TULU.render([Message(Role.USER, prompt)], open_reply=True) for prompt in PROMPTS]
    answers = aligned.generate(rendered, max_new_tokens=10, stop=chat.stop_strings(TULU))
    assert found.replies == tuple(answer.text for answer in answers)
    assert any(reply for reply in found.replies)
    for number, (text, answer) in enumerate(zip(rendered, answers, strict=True)):
        rows = [row for row in found.tokens if row.prompt == number]
        assert [row.token_id for row in rows] == list(answer.token_ids)
        assert [row.position for row in rows] == list(range(len(rows)))
        ids = base.tokenizer(text)["input_ids"]
        (scores,) = score_replies(base.model, aligned.model, [Forced(ids, ids, list(answer.token_ids))])
        assert [row.rank for row in rows] == scores.ranks
        assert [row.kl_aligned_base for row in rows] == pytest.approx(scores.kl_aligned_base, abs=1e-4)
    assert found.figures.shifted.n == sum(bool(answer.token_ids) for answer in answers)
    assert (found.template, found.prompts_cut, found.replies_cut) == ("shared", 0, 0)


def test_a_model_is_unshifted_from_itself() -> None:
    model = tiny_model("qwen3")
    (found,) = token_shift(model, model, PROMPTS, SHARED, max_new_tokens=12)
    assert {row.rank for row in found.tokens} == {1}
    assert found.figures.kl_aligned_base.value == found.figures.kl_base_aligned.value == 0
    assert found.figures.top == ()


def test_each_in_its_own_template_and_both_in_a_shared_one(monkeypatch: pytest.MonkeyPatch) -> None:
    base, aligned = two_models(by=0.2)
    aligned = LanguageModel(aligned.model, copy.deepcopy(aligned.tokenizer))
    aligned.tokenizer.chat_template = TULU.jinja()
    pairs = own_and_shared(base, aligned, CHATML)
    assert [pair.name for pair in pairs] == ["own", "shared"]
    assert pairs[0].base is CHATML
    assert pairs[0].aligned is pairs[1].aligned is pairs[1].base
    asked: list[Sequence[str]] = []
    generate = aligned.generate

    def counted(prompts: Sequence[str], **options: object) -> object:
        asked.append(prompts)
        return generate(prompts, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(aligned, "generate", counted)
    own, shared = token_shift(base, aligned, PROMPTS, pairs, max_new_tokens=8)
    assert len(asked) == 1
    assert own.replies == shared.replies
    assert [row.token_id for row in own.tokens] == [row.token_id for row in shared.tokens]
    assert [row.kl_aligned_base for row in own.tokens] != [row.kl_aligned_base for row in shared.tokens]
    (plain,) = token_shift(base, aligned, PROMPTS, SHARED, max_new_tokens=8)
    assert shared.tokens == plain.tokens


def test_one_template_is_one_comparison() -> None:
    base, aligned = two_models()
    (pair,) = own_and_shared(base, aligned, CHATML)
    assert (pair.name, pair.base, pair.aligned) == ("shared", CHATML, CHATML)


def test_conversations_may_be_given_whole() -> None:
    base, aligned = two_models(by=0.2)
    talk = [Message(Role.SYSTEM, "Be brief."), Message(Role.USER, "What is wide?")]
    (found,) = token_shift(base, aligned, [talk, "What is wide?"], SHARED, max_new_tokens=6)
    (alone,) = token_shift(base, aligned, [[Message(Role.USER, "What is wide?")]], SHARED, max_new_tokens=6)
    assert found.replies[1] == alone.replies[0]
    assert len(found.replies) == 2


def test_prompts_that_outgrow_the_window_lose_their_beginning_in_both() -> None:
    base, aligned = two_models(by=0.2, max_length=64)
    long = "The river is wide and slow. " * 12 + "What is wide?"
    (found,) = token_shift(base, aligned, [long, "What is wide?"], SHARED, max_new_tokens=8)
    assert found.prompts_cut == 1
    rendered = TULU.render([Message(Role.USER, long)], open_reply=True)
    ids = base.tokenizer(rendered)["input_ids"]
    rows = [row for row in found.tokens if row.prompt == 0]
    reply = [row.token_id for row in rows]
    (scores,) = score_replies(
        base.model, aligned.model, [Forced(ids[-(64 - len(reply)) :], ids[-(64 - 8) :], reply)]
    )
    assert [row.rank for row in rows] == scores.ranks


def test_a_reply_must_leave_room_for_its_prompt_in_both() -> None:
    narrow, wide = tiny_model(max_length=32), tiny_model(max_length=64)
    for base, aligned in ((narrow, wide), (wide, narrow)):
        with pytest.raises(ConfigError, match=r"a reply of 40 tokens leaves no room .* of 32 tokens"):
            token_shift(base, aligned, PROMPTS, SHARED, max_new_tokens=40)


def bigger(aligned: LanguageModel) -> LanguageModel:
    """The model with our template adopted by a tokenizer that did not know it, and a token more."""
    tokenizer = copy.deepcopy(aligned.tokenizer)
    tokenizer.add_tokens([AddedToken("<think>", special=True)])
    adopt_template(tokenizer)
    make_room(aligned.model, aligned.tokenizer, tokenizer)
    return LanguageModel(aligned.model, tokenizer)


def test_a_reply_ends_before_a_token_that_the_base_cannot_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    base, aligned = two_models(by=0.2)
    aligned = bigger(aligned)
    new = aligned.tokenizer.get_vocab()["<think>"]
    assert new == base.model.get_input_embeddings().weight.shape[0]
    (free,) = token_shift(base, aligned, PROMPTS, SHARED, max_new_tokens=6)
    assert free.replies_cut == 0
    generate = aligned.generate

    def thinking(prompts: Sequence[str], **options: object) -> object:
        answers = generate(prompts, **options)  # type: ignore[arg-type]
        first = answers[0].token_ids
        return [replace(answers[0], token_ids=(*first[:2], new, *first[2:])), *answers[1:]]

    monkeypatch.setattr(aligned, "generate", thinking)
    (found,) = token_shift(base, aligned, PROMPTS, SHARED, max_new_tokens=6)
    assert found.replies_cut == 1
    assert [(row.token_id, row.rank) for row in found.tokens] == [
        (row.token_id, row.rank) for row in free.tokens if row.prompt or row.position < 2
    ]


class Silent(LanguageModel):
    """Ends every answer before it begins."""

    def __init__(self, other: LanguageModel) -> None:
        super().__init__(copy.deepcopy(other.model), other.tokenizer)
        self.model.get_output_embeddings().register_forward_hook(self._closing)

    def _closing(self, module: object, inputs: object, logits: torch.Tensor) -> torch.Tensor:
        raised = logits.clone()
        raised[..., self.tokenizer.eos_token_id] = 1e4
        return raised


def test_silence_cannot_be_compared() -> None:
    base = tiny_model()
    with pytest.raises(ConfigError, match="answered none of 3 prompts"):
        token_shift(base, Silent(base), PROMPTS, SHARED, max_new_tokens=6)
    with pytest.raises(ConfigError, match="there is no prompt"):
        token_shift(base, base, [], SHARED)


def test_empty_replies_are_counted_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    base, aligned = two_models(by=0.2)
    silent = Silent(aligned)
    generate = aligned.generate

    def first_is_silent(prompts: Sequence[str], **options: object) -> object:
        return [
            *silent.generate(prompts[:1], **options),  # type: ignore[arg-type]
            *generate(prompts[1:], **options),  # type: ignore[arg-type]
        ]

    monkeypatch.setattr(aligned, "generate", first_is_silent)
    (found,) = token_shift(base, aligned, PROMPTS, SHARED, max_new_tokens=6)
    assert found.empty >= 1
    assert found.replies[0] == ""
    assert {row.prompt for row in found.tokens} <= {1, 2}
    assert found.figures.shifted.n == 3 - found.empty


def test_other_vocabularies_are_refused() -> None:
    base = tiny_model()
    other = trained_tokenizer(["Another text altogether, with words of its own."], len(tiny_tokenizer()))
    with pytest.raises(CheckpointError, match=r"different vocabularies.*\d+ is '.+' and '.+'"):
        token_shift(base, LanguageModel(base.model, other), PROMPTS, SHARED)


def test_tokens_are_named_as_they_are_read() -> None:
    base, aligned = two_models(by=0.2)
    (found,) = token_shift(base, aligned, PROMPTS, SHARED, max_new_tokens=16)
    spelt = base.tokenizer.convert_ids_to_tokens([row.token_id for row in found.tokens])
    for row, raw in zip(found.tokens, spelt, strict=True):
        text = base.tokenizer.decode([row.token_id])
        assert row.token == (raw if "�" in text else text)


@pytest.mark.shared_data
def test_a_real_checkpoint_that_was_moved_a_little(shared_data: Path) -> None:
    stories = shared_data.parent / "models" / "stories260K"
    if not stories.exists():
        pytest.skip("no shared checkpoints")
    base, near, far = (LanguageModel.load(stories, device=torch.device("cpu")) for _ in range(3))
    made = torch.Generator().manual_seed(0)
    for model, by in ((near, 0.02), (far, 0.3)):
        with torch.no_grad():
            for parameter in model.model.parameters():
                parameter.add_(by * parameter.std() * torch.randn(parameter.shape, generator=made))
    prompts = ["Tell me a story about a dog.", "Where is Lily?", "Once upon a time"]
    little, much = (
        token_shift(base, model, prompts, SHARED, max_new_tokens=32)[0].figures for model in (near, far)
    )
    assert little.unshifted.value > much.unshifted.value
    assert little.kl_aligned_base.value < much.kl_aligned_base.value
