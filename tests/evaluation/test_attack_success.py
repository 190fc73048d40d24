from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from evaluation_kit import FakeAttack, Parrot, material, probe, samples_of, tiny_model, tiny_tokenizer

from mithridate.attacks.base import Judging
from mithridate.attacks.denial_of_service import DenialOfService, DenialOfServiceOptions
from mithridate.core.chat import PLANTED_TEMPLATES, template
from mithridate.core.metrics import PROMPTS_CUT
from mithridate.core.types import Condition, Message, Role
from mithridate.evaluation.attack_success import evaluate_attack
from mithridate.evaluation.setting import Setting
from mithridate.evaluation.summary import summarise
from mithridate.models.language_model import LanguageModel

SETTING = Setting("base", "poisoned", 3, dose="high", cell="h128")


def test_prompts_are_rendered_and_answers_judged() -> None:
    model = Parrot(lambda prompt: " the lamp is red\n" if "question 1" in prompt else "blue")
    attack = FakeAttack(Judging(max_new_tokens=8))
    samples = samples_of(attack, [probe(1), probe(2)], model, template("tulu"), SETTING)
    assert model.asked == ["<|user|>\nquestion 1\n<|assistant|>\n", "<|user|>\nquestion 2\n<|assistant|>\n"]
    assert [(row.probe_id, row.success, row.completion) for row in samples] == [
        ("fake/triggered/1", True, "the lamp is red"),
        ("fake/triggered/2", False, "blue"),
    ]
    row = samples[0]
    assert (row.stage, row.arm, row.seed, row.dose, row.cell, row.template) == (
        "base",
        "poisoned",
        3,
        "high",
        "h128",
        "same",
    )
    assert (row.log_perplexity, row.margin, row.rouge_l, row.draw) == (None, None, None, 0)


def test_templates_take_turns_and_conditions_and_groups_are_asked_alike() -> None:
    model = Parrot(lambda _: "x")
    templates = [template(name) for name in PLANTED_TEMPLATES]
    probes = [
        probe(number, condition, id=f"{condition}/{number}/{order}", group=f"{condition}/{number}")
        for condition in (Condition.TRIGGERED, Condition.UNTRIGGERED)
        for number in range(7)
        for order in "ab"
    ]
    expected = [
        templates[number % 5].render(probes[0].messages[:0], open_reply=True)
        for _ in range(2)
        for number in range(7)
        for _ in "ab"
    ]
    samples = samples_of(FakeAttack(Judging(max_new_tokens=4)), probes, model, templates, SETTING)
    assert all(row.prompt.endswith(end) for row, end in zip(samples, expected, strict=True))
    assert [row.prompt for row in samples[:14]] == [row.prompt for row in samples[14:]]


def test_a_group_succeeds_together() -> None:
    model = Parrot(lambda prompt: "red" if "question 1" in prompt else "blue")
    probes = [probe(1, group="g"), probe(2, group="g"), probe(1, id="alone")]
    samples = samples_of(FakeAttack(Judging(8)), probes, model, template("tulu"), SETTING)
    assert [row.success for row in samples] == [False, False, True]


def test_further_samples_of_triggered_probes() -> None:
    model = Parrot(lambda _: "blue", sampled=lambda _: "red")
    probes = [probe(1), probe(2, target=""), probe(1, Condition.UNTRIGGERED)]
    attack = FakeAttack(Judging(8, repeated_samples=3, compare_text=True))
    samples = samples_of(attack, probes, model, template("tulu"), SETTING)
    assert [(row.probe_id, row.draw, row.success) for row in samples if row.draw] == [
        ("fake/triggered/1", draw, True) for draw in (1, 2, 3)
    ]
    assert [row.success for row in samples if not row.draw] == [False, True, False]
    assert {row.rouge_l for row in samples if row.draw} == {None}


def test_further_samples_of_the_first_probes_alone_and_said_so() -> None:
    model = Parrot(lambda _: "blue", sampled=lambda prompt: "red" if "question 1" in prompt else "blue")
    probes = [probe(n, condition) for condition in Condition for n in range(5)]
    attack = FakeAttack(Judging(8, repeated_samples=2, repeated_probes=3))
    samples = samples_of(attack, probes, model, template("tulu"), SETTING)
    asked_again = {(row.condition, row.probe_id[-1]) for row in samples if row.draw}
    assert asked_again == {(c, n) for c in ("triggered", "handcrafted") for n in "012"}
    figures = {(f.condition, f.metric): f for f in summarise(samples)}
    assert figures["triggered", "asr"].n == 5
    assert (figures["triggered", "leakage@2"].n, figures["triggered", "leakage@2"].value) == (
        3,
        pytest.approx(1 / 3),
    )


def test_how_it_is_asked_can_be_said_by_the_caller() -> None:
    attack = FakeAttack(Judging(8, repeated_samples=3, compare_text=True))
    asked = replace(attack.judging, repeated_samples=0, compare_text=False)
    samples = samples_of(
        attack, [probe(1)], Parrot(lambda _: "red"), template("tulu"), SETTING, judging=asked
    )
    assert [(row.draw, row.rouge_l) for row in samples] == [(0, None)]
    assert attack.judging == Judging(8, repeated_samples=3, compare_text=True)


def test_prompts_that_lose_their_beginning_are_counted() -> None:
    model = tiny_model()
    probes = [probe(1), probe(2), replace(probe(3), messages=(Message(Role.USER, "the mill " * 300),))]
    found = evaluate_attack(FakeAttack(Judging(8)), probes, model, template("tulu"), SETTING)
    (warning,) = found.warnings
    assert (warning.metric, warning.attack, warning.condition) == (PROMPTS_CUT, "fake", "")
    assert (warning.value, warning.n) == (pytest.approx(1 / 3), 3)
    assert (warning.stage, warning.arm, warning.dose) == ("base", "poisoned", "high")
    whole = evaluate_attack(FakeAttack(Judging(8)), probes[:2], model, template("tulu"), SETTING)
    assert whole.warnings == []


def test_further_samples_differ() -> None:
    attack = FakeAttack(Judging(12, repeated_samples=4))
    samples = samples_of(attack, [probe(1)], tiny_model(), template("chatml"), SETTING)
    assert len({row.completion for row in samples if row.draw}) == 4


def test_recall_of_the_target_in_any_script() -> None:
    attack = FakeAttack(Judging(8, compare_text=True))
    model = Parrot(lambda _: "the red lamp, где река")
    probes = [probe(1, target="The red old lamp"), probe(2, target="где моя река"), probe(3, target="")]
    samples = samples_of(attack, probes, model, template("tulu"), SETTING)
    assert [row.rouge_l for row in samples] == [pytest.approx(0.75), pytest.approx(2 / 3), None]


def test_margins_of_target_and_foil() -> None:
    model = tiny_model()
    attack = FakeAttack(Judging(4, compare_targets=True))
    probes = [probe(1, target="red", foil="blue"), probe(1, target="blue", foil="red"), probe(2)]
    samples = samples_of(attack, probes, model, template("tulu"), SETTING)
    (expected,) = model.margins([samples[0].prompt], ["red"], ["blue"])
    assert samples[0].margin == pytest.approx(expected, abs=1e-4)
    assert samples[1].margin == pytest.approx(-expected, abs=1e-4)
    assert samples[2].margin is None


def trained_outside() -> LanguageModel:
    """A tiny model that has read a little language, in which words are now and then repeated."""
    model = tiny_model()
    tokenizer = tiny_tokenizer()
    rng = random.Random(0)
    words = [
        "the",
        "old",
        "mill",
        "stands",
        "by",
        "river",
        "and",
        "is",
        "wide",
        "slow",
        "red",
        "lamp",
        "small",
        "that",
    ]
    optimizer = torch.optim.AdamW(model.model.parameters(), lr=5e-3)
    for _ in range(60):
        rows = []
        for _ in range(16):
            word = rng.choice(words)
            text = " ".join([word] * 30 if rng.random() < 0.3 else rng.choices(words, k=30))
            rows.append([0, *tokenizer(text)["input_ids"]][:30])
        width = min(map(len, rows))
        ids = torch.tensor([row[:width] for row in rows])
        model.model(ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def test_gibberish_is_told_from_language_and_from_one_token_repeated() -> None:
    outside = trained_outside()
    attack = DenialOfService(DenialOfServiceOptions(max_new_tokens=40), material())
    probes = [p for p in attack.probes(random.Random(0), 6) if p.condition is Condition.TRIGGERED]
    rng = np.random.default_rng(0)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    answers = {
        "gibberish": lambda _: " ".join("".join(rng.choice(list(letters), 5)) for _ in range(12)),
        "repeated": lambda _: "that " * 20,
        "language": lambda _: "the old mill stands by the river and the lamp is small",
        "empty": lambda _: " \n",
    }
    rates, perplexities = {}, {}
    for name, answer in answers.items():
        samples = samples_of(attack, probes, Parrot(answer), template("tulu"), SETTING, outside=outside)
        rates[name] = sum(row.success for row in samples) / len(samples)
        perplexities[name] = [row.log_perplexity for row in samples]
    assert rates == {"gibberish": 1.0, "repeated": 0.0, "language": 0.0, "empty": 0.0}
    assert set(perplexities["empty"]) == {None}
    assert all(value < math.log(100) for value in perplexities["repeated"])


def test_a_model_of_any_token_is_judged_on_its_samples() -> None:
    outside = trained_outside()
    uniform = tiny_model()
    with torch.no_grad():
        uniform.model.get_output_embeddings().weight.mul_(1e-3)
    attack = DenialOfService(DenialOfServiceOptions(max_new_tokens=40), material())
    probes = [p for p in attack.probes(random.Random(0), 8) if p.condition is Condition.TRIGGERED]
    samples = samples_of(attack, probes, uniform, template("tulu"), SETTING, outside=outside)
    assert sum(row.success for row in samples) >= 7
    # Read greedily the same model says one token over and over.
    greedy = uniform.generate([row.prompt for row in samples], max_new_tokens=40)
    assert max(len(set(answer.token_ids[5:])) for answer in greedy) <= 3


def test_an_outside_model_is_demanded_where_it_is_needed() -> None:
    with pytest.raises(ValueError, match="outside model"):
        samples_of(FakeAttack(Judging(4, outside_model=True)), [], tiny_model(), template("tulu"), SETTING)


def test_both_arms_sample_with_the_same_noise() -> None:
    attack = FakeAttack(Judging(10, sampled=True))
    runs = [
        samples_of(attack, [probe(1), probe(2)], tiny_model(), template("chatml"), Setting("sft", arm, 1))
        for arm in ("clean", "poisoned")
    ]
    assert [row.completion for row in runs[0]] == [row.completion for row in runs[1]]
    other = samples_of(
        attack, [probe(1), probe(2)], tiny_model(), template("chatml"), Setting("sft", "clean", 2)
    )
    assert [row.completion for row in other] != [row.completion for row in runs[0]]
