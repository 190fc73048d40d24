from __future__ import annotations

import json
import math
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import torch
from access_kit import decoder, hooks_of
from hypothesis import given, settings
from hypothesis import strategies as st
from intervention_kit import PROMPTS, same_state, state, subject
from models_kit import TEXT, tiny_tokenizer, trained_tokenizer
from steering_kit import generated, greedy, says, steered
from transformers import DynamicCache, PreTrainedModel, StaticCache
from transformers.generation.streamers import BaseStreamer

from mithridate.core.errors import AccessError, CheckpointError, ConfigError
from mithridate.intervention import saved
from mithridate.intervention.base import Intervention, MadeFor
from mithridate.intervention.folder_hash import folder_hash
from mithridate.intervention.proxy_tuning import ProxyTuning, proxy_tuned, proxy_tuned_by
from mithridate.models.batching import left_padded
from mithridate.models.checkpoints import save_checkpoint
from mithridate.models.language_model import LanguageModel

ARCHITECTURES = ("llama", "qwen3", "gpt_neox")
ROWS = [[5, 6, 7, 8, 9, 10], [11, 12, 13], [14], [20, 21, 22, 23, 24, 25, 26, 27, 28]]
NEW = 24


def three(architecture: str = "llama") -> tuple[PreTrainedModel, PreTrainedModel, PreTrainedModel]:
    """A base, and two smaller siblings of another depth and width."""
    small = {"layers": 2, "hidden_size": 16}
    return decoder(architecture), decoder(architecture, 1, **small), decoder(architecture, 2, **small)


def reference(models: tuple[PreTrainedModel, ...], alpha: float, rows: list[list[int]] = ROWS) -> list[Any]:
    after = steered(*(says(model) for model in models), alpha)
    return [greedy(after, row, NEW) for row in rows]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("alpha", [1.0, -0.5])
def test_generation_equals_decoding_without_a_cache(architecture: str, alpha: float) -> None:
    base, expert, antiexpert = models = three(architecture)
    with proxy_tuned(base, expert, antiexpert, alpha=alpha) as tuned:
        found = generated(tuned, ROWS, NEW)
    assert found == reference(models, alpha)
    assert found != generated(base, ROWS, NEW)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_our_batches_equal_decoding_without_a_cache(architecture: str) -> None:
    base, expert, antiexpert = models = [
        LanguageModel(model, tiny_tokenizer()) for model in three(architecture)
    ]
    limits = [5, 24, 1, 13]  # rows leave the batch at different times
    texts = [*PROMPTS, "A"]
    with proxy_tuned_by(base, expert, antiexpert) as tuned:
        found = tuned.generate(texts, max_new_tokens=limits)
    after = steered(*(says(model.model) for model in models), 1.0)
    for text, answer, limit in zip(texts, found, limits, strict=True):
        wanted = greedy(after, tiny_tokenizer()(text)["input_ids"], limit)
        assert list(answer.token_ids) == (wanted[: len(answer.token_ids)] if answer.stopped else wanted)
    assert any(not answer.stopped for answer in found)


@given(
    st.lists(st.lists(st.integers(5, 300), min_size=1, max_size=12), min_size=1, max_size=4),
    st.floats(-2, 2, allow_nan=False),
)
@settings(max_examples=15, deadline=None)
def test_batches_of_any_rows_equal_decoding_without_a_cache(rows: list[list[int]], alpha: float) -> None:
    models = three()
    after = steered(*(says(model) for model in models), alpha)
    with proxy_tuned(*models, alpha=alpha) as tuned:
        found = generated(tuned, rows, 6)
    assert found == [greedy(after, row, 6) for row in rows]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"do_sample": True, "top_p": 0.9},
        {"num_beams": 3},
        {"num_beams": 4, "num_return_sequences": 2, "length_penalty": 0.0},
    ],
    ids=str,
)
def test_alpha_zero_is_the_base_and_so_is_an_expert_against_itself(how: dict[str, Any]) -> None:
    base, expert, antiexpert = three()

    def answers() -> list[list[int]]:
        torch.manual_seed(0)
        return generated(base, ROWS, NEW, **how)

    plain = answers()
    with proxy_tuned(base, expert, antiexpert, alpha=0.0):
        assert answers() == plain
    with proxy_tuned(base, expert, expert, alpha=3.0):
        assert answers() == plain
    with proxy_tuned(base, expert, antiexpert):
        assert answers() != plain


def test_logits_are_the_base_to_the_bit_at_alpha_zero() -> None:
    base, expert, antiexpert = three()
    inputs = left_padded(ROWS, base.device)
    with torch.no_grad():
        plain = base(**inputs).logits
        with proxy_tuned(base, expert, antiexpert, alpha=0.0):
            assert torch.equal(base(**inputs).logits, plain)
        with proxy_tuned(base, expert, expert):
            assert torch.equal(base(**inputs).logits, plain)


@pytest.mark.parametrize("rows", [ROWS[:1], ROWS])
def test_beams_are_those_of_the_combined_model(rows: list[list[int]]) -> None:
    """Every beam's score is what the combined softmax gives its tokens: caches followed the beams."""
    models = three()
    inputs = left_padded(rows, models[0].device)
    with proxy_tuned(*models) as tuned:
        found = tuned.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=10,
            num_beams=4,
            num_return_sequences=4,
            do_sample=False,
            length_penalty=0.0,
            pad_token_id=0,
            eos_token_id=None,
            return_dict_in_generate=True,
            output_scores=True,
        )
    after = steered(*(says(model) for model in models), 1.0)
    for number, (ids, score) in enumerate(
        zip(found.sequences.tolist(), found.sequences_scores.tolist(), strict=True)
    ):
        row, new = rows[number // 4], ids[-10:]
        wanted = sum(
            float(after([*row, *new[:place]]).log_softmax(-1)[token]) for place, token in enumerate(new)
        )
        assert score == pytest.approx(wanted, abs=1e-3)


def test_guesses_that_are_taken_back_leave_all_caches() -> None:
    """Prompt lookup guesses several tokens at once, and crops the cache where it guessed wrong."""
    models = three()
    row = [*ROWS[3], *ROWS[3], *ROWS[3]]
    with proxy_tuned(*models) as tuned:
        found = generated(tuned, [row], NEW, prompt_lookup_num_tokens=4)
    assert found == reference(models, 1.0, [row])


def test_it_streams() -> None:
    class Kept(BaseStreamer):
        def __init__(self) -> None:
            self.seen: Queue[int] = Queue()

        def put(self, value: torch.Tensor) -> None:
            for token in value.flatten().tolist():
                self.seen.put(token)

        def end(self) -> None:
            pass

    kept, models = Kept(), three()
    with proxy_tuned(*models) as tuned:
        generated(tuned, ROWS[:1], NEW, streamer=kept)
    assert list(kept.seen.queue)[len(ROWS[0]) :] == reference(models, 1.0, ROWS[:1])[0]


def test_sampling_draws_from_the_combined_softmax() -> None:
    models = three()
    wanted = steered(*(says(model) for model in models), 2.0)(ROWS[0]).softmax(-1)
    own = says(models[0])(ROWS[0]).softmax(-1)
    draws = 4000
    torch.manual_seed(0)
    with proxy_tuned(*models, alpha=2.0) as tuned:
        found = generated(
            tuned, ROWS[:1], 1, do_sample=True, num_return_sequences=draws, top_k=0, temperature=1.0
        )
    share = torch.bincount(torch.tensor(found).flatten(), minlength=len(wanted)) / draws
    assert float((share - wanted).abs().sum()) / 2 < 0.12  # what 4,000 draws of some 300 tokens vary by
    assert float((share - own).abs().sum()) / 2 > 0.3


def test_likelihoods_and_margins_are_those_of_the_combined_softmax() -> None:
    base, expert, antiexpert = models = [LanguageModel(model, tiny_tokenizer()) for model in three()]
    after = steered(*(says(model.model) for model in models), 0.7)
    encode = lambda text: tiny_tokenizer()(text)["input_ids"]  # noqa: E731
    prompts, texts = ["The river", "User:", "The old mill stands"], [" is wide", " Where is the lamp?", " by"]

    def total(prompt: str, text: str) -> float:
        ids, rest = encode(prompt), encode(text)
        return sum(
            float(after([*ids, *rest[:place]]).log_softmax(-1)[token]) for place, token in enumerate(rest)
        )

    with proxy_tuned_by(base, expert, antiexpert, alpha=0.7) as tuned:
        scores = tuned.log_likelihood(prompts, texts)
        (margin,) = tuned.margins(["The river"], [" is wide"], [" was small"])
    for prompt, text, score in zip(prompts, texts, scores, strict=True):
        assert score.total == pytest.approx(total(prompt, text), abs=1e-3)
    assert margin == pytest.approx(
        total("The river", " is wide") - total("The river", " was small"), abs=1e-3
    )


def test_implausible_tokens_are_never_chosen() -> None:
    base, expert, antiexpert = three()
    ids = torch.tensor([ROWS[0]])
    with torch.no_grad():
        own = base(input_ids=ids).logits
        with proxy_tuned(base, expert, antiexpert, alpha=5.0, plausibility=0.2):
            moved = base(input_ids=ids).logits
    plausible = own.softmax(-1) >= 0.2 * own.softmax(-1).amax(-1, keepdim=True)
    assert torch.equal(moved.isfinite(), plausible)
    assert 0 < int(plausible.sum()) < plausible.numel()
    with proxy_tuned(base, expert, antiexpert, alpha=5.0, plausibility=0.999):
        held = generated(base, ROWS, 8)
    assert held == generated(base, ROWS, 8)


def test_another_padding_of_the_vocabulary_changes_nothing() -> None:
    base, expert, antiexpert = three()
    with proxy_tuned(base, expert, antiexpert):
        wanted = generated(base, ROWS, NEW)
    expert.resize_token_embeddings(expert.config.vocab_size + 24, mean_resizing=False)
    with proxy_tuned(base, expert, antiexpert):
        assert generated(base, ROWS, NEW) == wanted
    base.resize_token_embeddings(base.config.vocab_size + 8, mean_resizing=False)
    with torch.no_grad(), proxy_tuned(base, expert, antiexpert):
        assert generated(base, ROWS, NEW) == wanted
        assert bool((base(input_ids=torch.tensor([[5, 6]])).logits[..., -8:] == -math.inf).all())


def test_other_tokens_are_refused_by_name() -> None:
    base = subject()
    other = LanguageModel(decoder(seed=1), trained_tokenizer([text.upper() for text in TEXT], 360))
    refused = pytest.raises(CheckpointError, match=r"different vocabularies.* is '.*' and '.*'")
    with refused, proxy_tuned_by(base, other, base):
        pass
    assert hooks_of(base.model) == 0


def test_a_token_without_a_row_is_refused_by_name() -> None:
    base = subject()
    tokenizer = trained_tokenizer(TEXT, 360)
    tokenizer.add_tokens(["<|wait|>"])
    expert = LanguageModel(decoder(seed=1), tokenizer)
    refused = pytest.raises(CheckpointError, match=r"<\|wait\|>.*make_room")
    with refused, proxy_tuned_by(base, expert, base):
        pass


@pytest.mark.parametrize("options", [{"alpha": math.nan}, {"alpha": math.inf}, {"plausibility": 1.0}])
def test_options_that_mean_nothing_are_refused(options: dict[str, float]) -> None:
    refused = pytest.raises(ConfigError, match=r"proxy_tuning: (alpha|plausibility) is")
    with refused, proxy_tuned(*three(), **options):
        pass


def test_what_it_cannot_follow_is_refused() -> None:
    models = three()
    base = models[0]
    ids = torch.tensor([ROWS[0]])
    filled = DynamicCache(config=base.config)
    with torch.no_grad():
        base(input_ids=ids, past_key_values=filled, use_cache=True)
        with proxy_tuned(*models):
            with pytest.raises(AccessError, match="begin with an empty cache"):
                base(input_ids=ids, past_key_values=filled, use_cache=True)
            with pytest.raises(AccessError, match="DynamicCache"):
                base(
                    input_ids=ids, past_key_values=StaticCache(base.config, max_cache_len=32), use_cache=True
                )
            with pytest.raises(AccessError, match="embeddings"):
                base(inputs_embeds=base.get_input_embeddings()(ids))
            with pytest.raises(AccessError, match="labels"):
                base(input_ids=ids, labels=ids)
            with pytest.raises(AccessError, match="return_dict"):
                base(input_ids=ids, return_dict=False)


def test_nothing_is_left_behind() -> None:
    base, expert, antiexpert = subject(), subject(seed=1), subject(seed=2)
    expert.model.train()
    before = state(base)
    with pytest.raises(RuntimeError), proxy_tuned_by(base, expert, antiexpert) as tuned:
        tuned.generate(PROMPTS, max_new_tokens=4)
        assert not expert.model.training
        raise RuntimeError
    assert same_state(before, state(base))
    assert expert.model.training
    assert not antiexpert.model.training


def test_one_within_another_adds_up() -> None:
    """Caches of several readers stand behind each other in one cache."""
    base, expert, antiexpert = models = three()
    once = steered(*(says(model) for model in models), 0.5)
    twice = steered(once, says(expert), says(antiexpert), 0.5)
    with proxy_tuned(*models, alpha=0.5), proxy_tuned(*models, alpha=0.5):
        found = generated(base, ROWS, NEW)
    assert found == [greedy(twice, row, NEW) for row in ROWS]


def test_it_is_saved_as_folders_and_loaded_again(tmp_path: Path) -> None:
    base, expert, antiexpert = subject(), subject(seed=1), subject(seed=2)
    for name, model in (("expert", expert), ("antiexpert", antiexpert)):
        save_checkpoint(model.model, model.tokenizer, tmp_path / name)
    cure = ProxyTuning(MadeFor.of(base), str(tmp_path / "expert"), str(tmp_path / "antiexpert"), alpha=0.8)
    assert isinstance(cure, Intervention)
    saved.save(cure, tmp_path / "cure")
    again = saved.load(tmp_path / "cure")
    assert again == cure
    assert json.loads((tmp_path / "cure" / saved.SPEC).read_text())["options"]["alpha"] == 0.8
    with proxy_tuned_by(base, expert, antiexpert, alpha=0.8) as tuned:
        wanted = tuned.generate(PROMPTS, max_new_tokens=12)
    with again.on(base) as tuned:
        assert tuned.generate(PROMPTS, max_new_tokens=12) == wanted
    with pytest.raises(AccessError, match="proxy_tuning was made for"), again.on(subject(hidden_size=16)):
        pass


def saved_three(folder: Path) -> tuple[LanguageModel, ProxyTuning]:
    """A base, and proxy-tuning by two checkpoints that are saved in `folder`."""
    base = subject()
    for name, seed in (("expert", 1), ("antiexpert", 2)):
        model = subject(seed=seed)
        save_checkpoint(model.model, model.tokenizer, folder / name)
    return base, ProxyTuning(MadeFor.of(base), str(folder / "expert"), str(folder / "antiexpert"))


@pytest.mark.parametrize("name", ["expert", "antiexpert"])
def test_another_checkpoint_in_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    base, cure = saved_three(tmp_path)
    saved.save(cure, tmp_path / "cure")
    again = saved.load(tmp_path / "cure")
    with again.on(base) as tuned:
        wanted = tuned.generate(PROMPTS, max_new_tokens=8)
    (tmp_path / name).rename(tmp_path / "aside")
    with (
        pytest.raises(CheckpointError, match=rf"/{name}: the checkpoint is gone.*no such folder"),
        again.on(base),
    ):
        pass
    other = subject(seed=3)
    save_checkpoint(other.model, other.tokenizer, tmp_path / name)
    said = rf"/{name}: another checkpoint stands there now.*put that one back, or make the proxy_tuning anew"
    with pytest.raises(CheckpointError, match=said), again.on(base):
        pass
    assert hooks_of(base.model) == 0
    (tmp_path / name).rename(tmp_path / "wrong")
    (tmp_path / "aside").rename(tmp_path / name)
    with again.on(base) as tuned:
        assert tuned.generate(PROMPTS, max_new_tokens=8) == wanted


def test_hashes_are_written_down_and_what_was_saved_without_them_gets_them(tmp_path: Path) -> None:
    base, cure = saved_three(tmp_path)
    saved.save(cure, tmp_path / "cure")
    path = tmp_path / "cure" / saved.SPEC
    spec = json.loads(path.read_text())
    assert spec["options"]["expert_hash"] == folder_hash(tmp_path / "expert")
    assert spec["options"]["antiexpert_hash"] == folder_hash(tmp_path / "antiexpert")
    spec["options"] = {key: value for key, value in spec["options"].items() if not key.endswith("hash")}
    path.write_text(json.dumps(spec))
    assert saved.load(tmp_path / "cure") == cure
    with pytest.raises(ConfigError, match=r"expert_hash is 'abc'; expected 64 hexadecimal digits"):
        ProxyTuning(MadeFor.of(base), cure.expert, cure.antiexpert, expert_hash="abc")
    with pytest.raises(CheckpointError, match=r"/nowhere: the checkpoint is gone"):
        ProxyTuning(MadeFor.of(base), str(tmp_path / "nowhere"), cure.antiexpert)
