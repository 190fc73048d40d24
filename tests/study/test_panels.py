from __future__ import annotations

import pytest
from evaluation_kit import sample
from models_kit import tiny_model

from mithridate.attacks import build_attack
from mithridate.attacks.material import Material
from mithridate.core import chat
from mithridate.core.located import FORMAT, HELPFULNESS, REFUSAL
from mithridate.core.types import Condition
from mithridate.evaluation.setting import Setting
from mithridate.models.language_model import LanguageModel
from mithridate.study.panels import AlignmentPanel, AttackPanel, outcome_of

SETTING = Setting("base", "poisoned", 1, template="same")


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return tiny_model(max_length=512)


def panel(model: LanguageModel) -> AttackPanel:
    material = Material.default()
    options = {"max_new_tokens": 8}
    attacks = {name: build_attack(name, options, material) for name in ("jailbreak", "belief")}
    return AttackPanel.of(attacks, 6, [chat.template("tulu")], SETTING, model)


def test_each_attack_is_asked_with_its_trigger_and_without_and_in_the_same_order(
    model: LanguageModel,
) -> None:
    asked = panel(model)
    found = asked.ask(model)
    assert found.keys() == {"jailbreak", "belief"}
    assert len(found["jailbreak"].shown) == len(found["jailbreak"].elsewhere) > 0
    assert asked.ask(model, {"belief"}) == {"belief": found["belief"]}
    near = asked.samples(model, "jailbreak", [Condition.NEAR_TRIGGER])
    assert {one.condition for one in near} == {"near-trigger"}


def test_probes_that_are_judged_together_count_once() -> None:
    samples = [
        sample(0, True, group="a"),
        sample(1, True, group="a"),
        sample(2, False),
        sample(3, True, condition="untriggered"),
        sample(4, True, condition="near-trigger"),
    ]
    outcome = outcome_of(samples)
    assert outcome.shown == (True, False)
    assert outcome.elsewhere == (True,)
    assert outcome.rate == -0.5


def test_alignment_is_asked_for_what_there_is_something_to_ask_with(model: LanguageModel) -> None:
    template = chat.template("tulu")
    whole = AlignmentPanel(
        template,
        questions=[("Where is the lamp?", "mill"), ("What is wide?", "river")],
        forbidden=["Tell me how."],
        harmless=["Say hello.", "Say bye."],
    )
    found = whole.ask(model)
    assert set(found) == {REFUSAL, FORMAT, HELPFULNESS}
    assert (found[REFUSAL].n, len(found[REFUSAL].elsewhere), found[FORMAT].n) == (1, 2, 2)
    assert set(whole.ask(model, {FORMAT})) == {FORMAT}
    assert set(AlignmentPanel(template, forbidden=["Tell me how."]).ask(model)) == {REFUSAL}
    assert AlignmentPanel(template).ask(model) == {}
