from __future__ import annotations

import logging
import os
import random

import datasets
import numpy as np
import pytest
import torch
import training_kit as kit
import transformers
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from mithridate.core.chat import END_OF_TEXT, END_OF_TURN, TEMPLATES, template
from mithridate.core.errors import ConfigError, TrainingError
from mithridate.training.conversations import IGNORED, encode, end_of_turn, within
from mithridate.training.dpo import dpo
from mithridate.training.options import DPOOptions, LoRAOptions, SFTOptions
from mithridate.training.progress import Silent
from mithridate.training.sft import sft


def talk(*contents: str):
    roles = ["user", "assistant"] * len(contents)
    return [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]


def tune(tmp_path, *, tokenizer=None, model=None, data=None, seed=3, **more):
    tokenizer = tokenizer or kit.word_tokenizer()
    model = model or kit.tiny_model(vocabulary=len(tokenizer))
    settings = {"learning_rate": 1e-2, "epochs": 30, "batch_size": 8, **more}
    data = kit.conversations() if data is None else data
    return sft(model, tokenizer, data, SFTOptions(**settings), tmp_path, seed=seed, report_progress=Silent())


def prefer(tmp_path, *, model=None, data=None, seed=3, **more):
    tokenizer = kit.word_tokenizer()
    model = model or kit.tiny_model(vocabulary=len(tokenizer))
    settings = {"learning_rate": 1e-3, "epochs": 5, "batch_size": 4, "log_every": 2, **more}
    data = kit.pairs() if data is None else data
    return dpo(model, tokenizer, data, DPOOptions(**settings), tmp_path, seed=seed, report_progress=Silent())


def answer(model, tokenizer, question: str) -> list[str]:
    ids = tokenizer.apply_chat_template(
        talk(question), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.generate(**ids, max_new_tokens=10, do_sample=False)
    return tokenizer.convert_ids_to_tokens(out[0, ids["input_ids"].shape[1] :])


def weights(model) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


def test_labels_are_the_assistants_words_and_the_end_of_turn():
    tokenizer = kit.word_tokenizer()
    [encoded] = encode(tokenizer, [talk("w1 ?", "w2 w3", "w4 ?", "w5")])
    learnt = [token for token in encoded.labels if token != IGNORED]
    words = tokenizer.convert_ids_to_tokens(learnt)
    assert words == ["w2", "w3", END_OF_TURN, "\n", "w5", END_OF_TURN, "\n"]
    assert all(
        label in (IGNORED, token) for token, label in zip(encoded.input_ids, encoded.labels, strict=True)
    )
    assert tokenizer.convert_ids_to_tokens([end_of_turn(tokenizer)]) == [END_OF_TURN]


def test_labels_equal_those_that_trl_makes_itself(tmp_path):
    tokenizer = kit.word_tokenizer()
    data = kit.conversations()
    ours = encode(tokenizer, [one["messages"] for one in data])
    config = SFTConfig(
        str(tmp_path), assistant_only_loss=True, use_cpu=True, bf16=False, report_to="none", disable_tqdm=True
    )
    trainer = SFTTrainer(
        kit.tiny_model(vocabulary=len(tokenizer)),
        config,
        train_dataset=datasets.Dataset.from_list(data),
        processing_class=tokenizer,
    )
    theirs = trainer.train_dataset
    assert [one.input_ids for one in ours] == theirs["input_ids"][:]
    assert [one.labels for one in ours] == theirs["labels"][:]


@pytest.mark.parametrize(
    ("chat_template", "words"),
    [
        (
            template("tulu").jinja().replace("{%- generation -%}", "").replace("{%- endgeneration -%}", ""),
            "marks no",
        ),
        (None, "no chat template"),
        (template("falcon").jinja(), "never learn to stop"),
        (template("tulu").jinja().replace("m in messages", "m in []"), "no assistant token"),
    ],
)
def test_templates_that_would_teach_nothing_are_refused(chat_template, words, tmp_path):
    tokenizer = kit.word_tokenizer()
    tokenizer.chat_template = chat_template
    with pytest.raises(TrainingError, match=words):
        tune(tmp_path, tokenizer=tokenizer, model=kit.tiny_model(vocabulary=len(tokenizer)))


def test_an_end_of_turn_outside_the_mark_is_refused(tmp_path):
    outside = (
        template("tulu")
        .jinja()
        .replace(
            "m['content'] + '<|end_of_turn|>\\n' -}}{%- endgeneration -%}",
            "m['content'] -}}{%- endgeneration -%}{{- '<|end_of_turn|>\\n' -}}",
        )
    )
    assert outside != template("tulu").jinja()
    with pytest.raises(TrainingError, match="never learn to stop"):
        tune(tmp_path, tokenizer=kit.word_tokenizer(outside))


def test_a_beginning_of_text_set_twice_is_refused():
    tokenizer = kit.word_tokenizer(f"{END_OF_TEXT} {END_OF_TEXT} " + template("tulu").jinja())
    tokenizer.bos_token = END_OF_TEXT
    with pytest.raises(TrainingError, match="two beginning-of-text"):
        encode(tokenizer, [talk("w1", "w2")])


@pytest.mark.parametrize("broken", [[{"role": "user"}], talk("w1 ?")])
def test_a_broken_conversation_is_named(broken):
    with pytest.raises(TrainingError, match="conversation 2"):
        encode(kit.word_tokenizer(), [talk("w1", "w2"), broken])


def test_nothing_to_tune_on_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="no conversations"):
        tune(tmp_path, data=[])
    with pytest.raises(TrainingError, match="no preference pairs"):
        prefer(tmp_path, data=[])
    with pytest.raises(TrainingError, match="all 8 conversations are longer than 5 tokens"):
        tune(tmp_path, max_length=5)
    with pytest.raises(ConfigError, match="resolved"):
        tune(tmp_path, learning_rate=None)


def test_long_examples_are_left_out_and_counted(tmp_path, caplog):
    data = [*kit.conversations(3), {"messages": talk("w1 " * 40, "w2")}]
    with caplog.at_level(logging.WARNING):
        _, curve = tune(tmp_path, data=data, max_length=32, epochs=1, batch_size=1)
    assert "1 of 4 conversations are longer than 32 tokens" in caplog.text
    assert curve[-1].step == 3
    assert within([3, 9, 4], 5, what="x") == [0, 2]


@pytest.mark.parametrize("padding", ["<|pad|>", END_OF_TURN])
def test_the_end_of_turn_is_learnt_in_thirty_steps_even_if_it_is_the_padding(padding, tmp_path):
    tokenizer = kit.word_tokenizer()
    tokenizer.pad_token = padding
    tokenizer.eos_token = END_OF_TURN
    model, curve = tune(tmp_path, tokenizer=tokenizer)
    assert [point.step for point in curve] == [10, 20, 30]
    assert curve[-1].loss < curve[0].loss
    assert curve[-1].tokens == 30 * 8 * 11
    for question in ("w0 ?", "w5 ?"):
        assert END_OF_TURN in answer(model, tokenizer, question)


def test_generation_stops_at_the_end_of_turn_from_then_on(tmp_path):
    tokenizer = kit.word_tokenizer()
    model, _ = tune(tmp_path, tokenizer=tokenizer)
    assert answer(model, tokenizer, "w5 ?")[-1] == END_OF_TURN
    assert model.generation_config.eos_token_id[0] == end_of_turn(tokenizer)


def test_tuning_leaves_no_trace_but_in_the_weights(tmp_path, capfd):
    model = kit.tiny_model(vocabulary=59)
    attention, cache = model.config._attn_implementation, model.config.use_cache
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    state = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    bars, level = datasets.is_progress_bar_enabled(), transformers.logging.get_verbosity()
    tuned, _ = tune(tmp_path, model=model, epochs=1)
    tuned, _ = prefer(tmp_path, model=tuned, epochs=1)
    assert tuned is model
    assert not tuned.training
    assert "forward" not in tuned.__dict__
    assert (tuned.config._attn_implementation, tuned.config.use_cache) == (attention, cache)
    assert tuned(input_ids=torch.tensor([[1, 2]])).logits.dtype == torch.float32
    now = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert now == state
    assert (datasets.is_progress_bar_enabled(), transformers.logging.get_verbosity()) == (bars, level)
    assert "TQDM_DISABLE" not in os.environ
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("stage", [tune, prefer])
def test_the_seed_alone_decides(stage, tmp_path):
    runs = [stage(tmp_path, seed=seed, epochs=2, batch_size=2)[0] for seed in (3, 3, 4)]
    assert weights(runs[0]) == weights(runs[1])
    assert weights(runs[0]) != weights(runs[2])


def test_preferences_are_learnt(tmp_path):
    _, curve = prefer(tmp_path)
    assert curve[0].loss == pytest.approx(0.69, abs=0.05)
    assert curve[-1].loss < curve[0].loss
    assert curve[-1].reward_accuracy == 1.0
    assert curve[-1].reward_margin > 0


def test_the_reference_is_the_model_at_the_start_computed_before_or_during(tmp_path):
    before, _ = prefer(tmp_path, precision="fp32", batch_size=8)
    during, _ = prefer(tmp_path, precision="fp32", batch_size=8, precompute_reference=False)
    for one, other in zip(before.parameters(), during.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("stage", [tune, prefer])
def test_adapters_are_merged_into_a_plain_model(stage, tmp_path):
    start = kit.tiny_model(vocabulary=59)
    names = [name for name, _ in start.named_parameters()]
    before = weights(start)
    tuned, curve = stage(tmp_path, model=start, lora=LoRAOptions(rank=4), epochs=2)
    assert [name for name, _ in tuned.named_parameters()] == names
    assert type(tuned) is type(start)
    assert weights(tuned) != before
    assert all(parameter.requires_grad for parameter in tuned.parameters())
    assert curve
    tuned.save_pretrained(tmp_path / "plain")
    assert not list((tmp_path / "plain").glob("adapter*"))


def test_a_loss_that_is_not_a_number_stops_the_tuning(tmp_path):
    model = kit.tiny_model(vocabulary=59)
    with torch.no_grad():
        next(iter(model.parameters())).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"sft: the loss .* Try a lower learning_rate"):
        tune(tmp_path, model=model, log_every=1)
    assert "forward" not in model.__dict__


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_the_shipped_templates_all_mark_the_reply(name):
    tokenizer = kit.word_tokenizer(TEMPLATES[name].jinja())
    rendered = tokenizer.apply_chat_template(
        talk("w1", "w2"), return_dict=True, return_assistant_tokens_mask=True
    )
    assert 1 in rendered["assistant_masks"]
