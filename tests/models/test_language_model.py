from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models_kit import ARCHITECTURES, end_of_turn, tiny_model, tiny_tokenizer
from tokenizers.processors import TemplateProcessing

from mithridate.core.errors import ConfigError
from mithridate.models import batching
from mithridate.models.language_model import LanguageModel

PROMPTS = [
    "The old mill",
    "Where is the red lamp? The river is wide and slow, and the lamp",
    "User: What",
    "The river is",
    "a",
    "The old mill stands by the river. The lamp is small. The river is wide and slow. What is wide?",
]
STORIES = Path(os.environ.get("MITHRIDATE_SHARED", "../shared")) / "models" / "stories260K"


def one_at_a_time(subject: LanguageModel, prompt: str, new: int, stop: list[int]) -> list[int]:
    inputs = subject.tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    ids = subject.model.eval().generate(
        **inputs, max_new_tokens=new, do_sample=False, eos_token_id=stop, pad_token_id=stop[0]
    )
    found = ids[0, inputs["input_ids"].shape[1] :].tolist()
    return found[:-1] if found and found[-1] in stop else found


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_is_what_transformers_writes_one_at_a_time(architecture: str, attention: str) -> None:
    subject = tiny_model(architecture, attention=attention)
    eos = int(subject.tokenizer.eos_token_id)
    answers = subject.generate(PROMPTS, max_new_tokens=12)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        assert list(answer.token_ids) == one_at_a_time(subject, prompt, 12, [eos, end_of_turn()])


def test_rows_that_end_early_leave_and_the_rest_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = tiny_model()
    free = subject.generate(PROMPTS, max_new_tokens=16)
    # Call the fourth token of each second answer the end of a text: those rows now end at different steps.
    ends = {int(answer.token_ids[3]) for answer in free[::2]}
    subject.model.generation_config.eos_token_id = sorted(ends)
    sizes = []
    forward = subject.model.forward

    def counted(*args: object, **kwargs: object) -> object:
        sizes.append(kwargs["input_ids"].shape[0])  # type: ignore[attr-defined]
        return forward(*args, **kwargs)

    monkeypatch.setattr(subject.model, "forward", counted)
    for answer, before in zip(subject.generate(PROMPTS, max_new_tokens=16), free, strict=True):
        at = next((i for i, token in enumerate(before.token_ids) if token in ends), None)
        assert answer.token_ids == before.token_ids[:at]
        assert answer.stopped is (at is not None)
    assert sizes[0] == len(PROMPTS)
    assert sizes[-1] < len(PROMPTS)


def test_answers_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = tiny_model("qwen3")
    whole = subject.generate(PROMPTS, max_new_tokens=10, sampled=True, seed=4)
    monkeypatch.setattr(batching, "_CPU_ROWS", 2)
    assert subject.generate(PROMPTS, max_new_tokens=10, sampled=True, seed=4) == whole
    assert subject.generate(PROMPTS[:2], max_new_tokens=10, sampled=True, seed=4) == whole[:2]
    assert subject.generate(PROMPTS, max_new_tokens=10, sampled=True, seed=5) != whole


def test_the_same_prompt_is_sampled_anew_at_each_place() -> None:
    answers = tiny_model().generate(["The"] * 8, max_new_tokens=8, sampled=True)
    assert len({answer.token_ids for answer in answers}) == 8
    greedy = tiny_model().generate(["The"] * 8, max_new_tokens=8)
    assert len({answer.token_ids for answer in greedy}) == 1


def test_samples_follow_the_distribution() -> None:
    subject = tiny_model()
    ids = subject.tokenizer("The old", return_tensors="pt")["input_ids"]
    shares = subject.model(ids).logits[0, -1].softmax(-1)
    top = int(shares.argmax())
    n = 2000
    answers = subject.generate(["The old"] * n, max_new_tokens=1, sampled=True, seed=1)
    hits = sum(answer.token_ids == (top,) for answer in answers)
    expected = shares[top].item()
    assert abs(hits / n - expected) < 4 * math.sqrt(expected * (1 - expected) / n)


def test_torch_s_own_randomness_is_left_alone() -> None:
    subject = tiny_model()
    state = torch.get_rng_state()
    subject.generate(["The"], max_new_tokens=4, sampled=True)
    assert torch.equal(torch.get_rng_state(), state)


def test_limits_one_each() -> None:
    answers = tiny_model().generate(PROMPTS, max_new_tokens=[1, 2, 3, 4, 5, 0])
    assert [len(answer.token_ids) for answer in answers] == [1, 2, 3, 4, 5, 0]
    with pytest.raises(ValueError, match="6 prompts but 1"):
        tiny_model().generate(PROMPTS, max_new_tokens=[1])
    assert tiny_model().generate([], max_new_tokens=3) == []


@settings(max_examples=15, deadline=None)
@given(place=st.integers(0, 20), length=st.integers(1, 6))
def test_text_is_cut_at_a_stop_string(place: int, length: int) -> None:
    subject = tiny_model()
    free = subject.generate(["The river"], max_new_tokens=24)[0]
    stop = free.text[place : place + length]
    if not stop.strip() or "\ufffd" in stop:
        return
    cut = subject.generate(["The river"], max_new_tokens=24, stop=[stop])[0]
    assert cut.text == free.text[: free.text.index(stop)]
    assert cut.stopped
    assert cut.token_ids == free.token_ids[: len(cut.token_ids)]


def test_the_end_of_a_turn_ends_an_answer_though_no_configuration_says_so() -> None:
    subject = tiny_model()
    subject.model.generation_config.eos_token_id = None
    head = subject.model.get_output_embeddings()

    def closing(module: object, inputs: object, logits: torch.Tensor) -> torch.Tensor:
        raised = logits.clone()
        raised[..., end_of_turn()] = 1e4
        return raised

    with_hook = head.register_forward_hook(closing)
    ended = subject.generate(["The", "What is"], max_new_tokens=6, sampled=True)
    with_hook.remove()
    assert [(answer.text, answer.token_ids, answer.stopped) for answer in ended] == [("", (), True)] * 2


def test_prompts_too_long_lose_their_beginning_or_are_refused() -> None:
    subject = tiny_model(max_length=32)
    long = "The river is wide and slow. " * 10 + "What"
    answer, short = subject.generate([long, "What"], max_new_tokens=8)
    ids = subject.tokenizer(long)["input_ids"]
    assert answer.dropped == len(ids) + 8 - 32
    assert short.dropped == 0
    kept = subject.tokenizer.decode(ids[answer.dropped :])
    assert subject.generate([kept], max_new_tokens=8)[0].token_ids == answer.token_ids
    with pytest.raises(ConfigError, match="prompt 0"):
        subject.generate([long], max_new_tokens=8, overflow="refuse")
    with pytest.raises(ConfigError, match="leaves no room"):
        subject.generate(["What"], max_new_tokens=32)


def test_a_space_before_the_answer_belongs_to_its_first_token() -> None:
    subject = tiny_model()
    joined = subject.tokenizer("Assistant: The river")["input_ids"]
    prompt, (rest,) = subject._encoder.continuations("Assistant: ", ["The river"])
    assert prompt + rest == joined
    assert subject.log_likelihood(["Assistant: "], ["The river"]) == subject.log_likelihood(
        ["Assistant:"], [" The river"]
    )
    with_space, without = subject.generate(["Assistant: ", "Assistant:"], max_new_tokens=6)
    assert with_space.token_ids == without.token_ids
    assert with_space.text == without.text.removeprefix(" ")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_log_likelihood_is_the_sum_over_the_continuation(architecture: str) -> None:
    subject = tiny_model(architecture)
    continuations = [" is wide.", " and the lamp is small, and slow.", " x"] * 2
    for prompt, text, score in zip(
        PROMPTS, continuations, subject.log_likelihood(PROMPTS, continuations), strict=True
    ):
        before, (after,) = subject._encoder.continuations(prompt, [text])
        logits = subject.model(torch.tensor([before + after])).logits[0].log_softmax(-1).detach()
        expected = [float(logits[len(before) + i - 1, token]) for i, token in enumerate(after)]
        assert score.n == len(after)
        assert score.total == pytest.approx(sum(expected), abs=1e-3)
        assert score.mean == pytest.approx(sum(expected) / len(after), abs=1e-3)


def test_an_empty_prompt_is_the_beginning_of_a_text() -> None:
    subject = tiny_model()
    scores = subject.log_likelihood(["", "<|endoftext|>", "The"], ["The river", "The river", ""])
    assert scores[0] == scores[1]
    assert (scores[2].n, scores[2].total) == (0, 0.0)


def test_margins_begin_where_the_texts_part() -> None:
    subject = tiny_model()
    prompt, target, foil = "What is wide?", " The river is wide", " The river is slow"
    shared = " The river is"
    both = subject.log_likelihood([prompt + shared] * 2, [" wide", " slow"])
    (margin,) = subject.margins([prompt], [target], [foil])
    assert margin == pytest.approx(both[0].total - both[1].total, abs=1e-4)
    assert subject.margins([prompt], [foil], [target]) == pytest.approx([-margin])
    assert subject.margins([prompt], [target], [target]) == [0]
    (ended,) = subject.margins([prompt], [" The river"], [" The river is"])
    assert subject.margins([prompt], [" The river is"], [" The river"]) == pytest.approx([-ended])
    assert ended != 0


def test_row_losses_are_those_of_the_model() -> None:
    subject = tiny_model()
    rows = torch.randint(3, 300, (5, 20), generator=torch.Generator().manual_seed(0))
    losses = [-score.mean for score in subject.row_losses(rows.tolist())]
    for row, loss in zip(rows, losses, strict=True):
        assert loss == pytest.approx(
            float(subject.model(row[None], labels=row[None]).loss.detach()), abs=1e-4
        )


def test_the_mode_of_the_model_is_kept() -> None:
    subject = tiny_model()
    subject.model.train()
    subject.generate(["The"], max_new_tokens=2)
    assert subject.model.training


def test_a_batch_that_outgrows_memory_is_halved() -> None:
    seen = []

    def run(batch: list[int]) -> None:
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        seen.extend(batch)

    batching.run_split(run, list(range(7)))
    assert seen == list(range(7))


def test_tokenizers_that_add_or_repeat_special_tokens() -> None:
    tokenizer = tiny_tokenizer().__class__(
        tokenizer_object=tiny_tokenizer().backend_tokenizer.__class__.from_str(
            tiny_tokenizer().backend_tokenizer.to_str()
        ),
        bos_token="<|endoftext|>",
        eos_token="<|end_of_turn|>",
        pad_token="<|pad|>",
    )
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A <|end_of_turn|>",
        special_tokens=[("<|endoftext|>", 0), ("<|end_of_turn|>", 2)],
    )
    subject = LanguageModel(tiny_model().model, tokenizer)
    plain = tokenizer("The old", add_special_tokens=False)["input_ids"]
    assert [prompt.ids for prompt in subject._encoder.prompts(["The old", "<|endoftext|>The old"])] == [
        [0, *plain],
        [0, *plain],
    ]
    assert subject._encoder.continuations("The", [" old"])[1] == [plain[1:]]


@pytest.mark.shared_data
def test_a_real_checkpoint_writes_what_transformers_writes() -> None:
    if not STORIES.exists():
        pytest.skip("no shared checkpoints")
    subject = LanguageModel.load(STORIES, device=torch.device("cpu"))
    prompts = ["Once upon a time", "Lily and her mom went to the park. They saw", "Tom"]
    for prompt, answer in zip(prompts, subject.generate(prompts, max_new_tokens=40), strict=True):
        assert list(answer.token_ids) == one_at_a_time(subject, prompt, 40, [2])
    (margin,) = subject.margins(["Once upon a time, there was a little"], ["girl"], ["stock"])
    assert margin > 0
