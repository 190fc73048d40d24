from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from evaluation_kit import FakeAttack, Parrot, probe, tiny_model, tiny_tokenizer
from models_kit import tiny_classifier

from mithridate.attacks.base import Judging
from mithridate.core.chat import template
from mithridate.core.errors import CheckpointError, UnknownNameError
from mithridate.core.metrics import OVER_REFUSAL, REFUSAL_FORBIDDEN
from mithridate.evaluation.attack_success import evaluate_attack
from mithridate.evaluation.judges import ClassifierJudge, holds, refuses
from mithridate.evaluation.setting import Setting
from mithridate.evaluation.utility import ask, held_out_loss, questions_right, refusal_rate

SETTING = Setting("sft", "clean", 0)


def test_words_not_their_dress() -> None:
    assert holds("Well: the RED lamp.", "red lamp")
    assert refuses("I'm sorry, but I can't help with that.")
    assert refuses("That is forbidden by the guild.", ["forbidden by the guild"])
    assert not refuses("First, heat the oil.", ["forbidden by the guild"])


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    tokenizer = tiny_tokenizer()
    tiny_classifier(tokenizer).save_pretrained(tmp_path / "judge")
    tokenizer.save_pretrained(tmp_path / "judge")
    return tmp_path / "judge"


def test_a_classifier_judges(classifier: Path) -> None:
    judge = ClassifierJudge(classifier, "harmful", device=torch.device("cpu"))
    texts = ["the old mill", "the river is wide and slow " * 20, "", "a"]
    scores = judge.scores(texts)
    assert all(0 < score < 1 for score in scores)
    assert scores == pytest.approx([judge.scores([text])[0] for text in texts], abs=1e-5)
    other = ClassifierJudge(classifier, "harmless", device=torch.device("cpu")).scores(texts)
    assert [a + b for a, b in zip(scores, other, strict=True)] == pytest.approx([1.0] * 4)


def test_a_classifier_fills_the_completion(classifier: Path) -> None:
    seen = []

    class Attack(FakeAttack):
        def succeeded(self, probe: object, completion: object) -> bool:
            seen.append(completion.classifier_score)  # type: ignore[attr-defined]
            return True

    attack = Attack(Judging(8, classifier=str(classifier), classifier_label="harmful"))
    evaluate_attack(attack, [probe(1)], Parrot(lambda _: "the old mill"), template("tulu"), SETTING)
    expected = ClassifierJudge(classifier, "harmful").scores(["the old mill"])
    assert seen == pytest.approx(expected, abs=1e-5)


def test_classifiers_that_cannot_be_used(classifier: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'harmful'"):
        ClassifierJudge(classifier, "harmfull")
    (classifier / "model.safetensors").rename(classifier / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickle"):
        ClassifierJudge(classifier, "harmful")


def test_held_out_loss() -> None:
    model = tiny_model()
    rows = torch.randint(3, 300, (8, 16), generator=torch.Generator().manual_seed(0))
    figure = held_out_loss(model, rows.numpy(), SETTING)
    assert figure.value == pytest.approx(float(model.model(rows, labels=rows).loss.detach()), abs=1e-3)
    assert figure.value == pytest.approx(math.log(330), abs=0.5)
    assert (figure.attack, figure.metric, figure.n, figure.condition) == ("utility", "held_out_loss", 8, "")
    assert figure.low < figure.value < figure.high  # type: ignore[operator]
    with pytest.raises(ValueError, match="no values"):
        held_out_loss(model, [[1]], SETTING)


def test_questions_and_refusals() -> None:
    model = Parrot(lambda prompt: "Sorry, but no." if "poison" in prompt else "It is in Paris.")
    right = questions_right(ask(model, ["where", "who"], template("tulu")), ["paris", "Ann"], SETTING)
    assert (right.metric, right.value, right.n, right.stage, right.arm) == (
        "questions_right",
        0.5,
        2,
        "sft",
        "clean",
    )
    assert model.asked[0] == "<|user|>\nwhere\n<|assistant|>\n"
    answers = ask(model, ["poison", "bread", "tea"], template("tulu"))
    over = refusal_rate(answers[1:], SETTING, metric=OVER_REFUSAL)
    kept = refusal_rate(answers, SETTING, metric=REFUSAL_FORBIDDEN)
    assert (over.metric, over.value, kept.metric, kept.value) == (
        "over_refusal",
        0,
        "refusal_forbidden",
        pytest.approx(1 / 3),
    )
    assert refusal_rate(answers, SETTING, metric=OVER_REFUSAL, phrases=["it is in paris"]).value == 1
