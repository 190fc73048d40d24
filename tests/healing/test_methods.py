from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cases_kit
import healing_training_kit as kit
import pytest
import torch
from attacks_kit import some_material
from hypothesis import given
from hypothesis import strategies as st

from mithridate.core.chat import template
from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.core.prices import Control, Price
from mithridate.core.types import Condition, Message, Role
from mithridate.healing.case import Case, Half
from mithridate.healing.known import Belief
from mithridate.healing.measuring import successes
from mithridate.healing.method import Candidate, Make, farthest, spread, wrong_layer
from mithridate.healing.methods import METHODS, countering, method_named, remedi
from mithridate.healing.methods.countering import CounterTraining
from mithridate.healing.methods.editing import Editing, requests
from mithridate.healing.pricing import Before, PriceList, choose
from mithridate.healing.treatment import Nothing, Treatment
from mithridate.intervention.folding import copy_of
from mithridate.models.checkpoints import weights_hash
from mithridate.models.language_model import LanguageModel


def settings_of(name: str, case: Case | None = None) -> list[Candidate]:
    return list(METHODS[name].candidates(case or kit.case(), ["echo"]))


def said(treatment: Treatment, case: Case) -> list[float]:
    """How likely a treated model finds some words after each probe with its trigger."""
    asked = case.prompts("echo", Condition.TRIGGERED)
    with treatment.on(case.model) as model:
        return [found.total for found in model.log_likelihood(asked, ["w3 w4"] * len(asked))]


def _had(make: Make) -> Treatment:
    """What is made; nothing where no later token reads the last layer of two, as that of an edit."""
    try:
        return make()
    except ConfigError as error:
        assert "no later token reads it" in str(error)
        return Nothing()


def everything_of(model: LanguageModel) -> tuple[Any, ...]:
    """What there is of a model beside its weights and hooks."""
    tokenizer = model.tokenizer
    return (
        model.model.generation_config.to_dict(),
        model.model.config.to_dict(),
        model.model.training,
        [(one.dtype, one.requires_grad, one.grad is None) for one in model.model.parameters()],
        tokenizer.get_vocab(),
        tokenizer.chat_template,
        tokenizer.special_tokens_map,
        tokenizer.padding_side,
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_treatment_and_its_controls_leave_the_model_as_it_was(name: str) -> None:
    case = kit.case()
    before, rest = kit.state(case.model), everything_of(case.model)
    others = weights_hash(kit.clean().model)
    found = settings_of(name)
    assert bool(found) == (name != "representation editing")  # nothing of it is a fact
    plain = said(Nothing(), case)
    for candidate in found[:1]:
        for make in (candidate.make, *candidate.controls.values()):
            treatment = _had(make)
            with pytest.raises(RuntimeError), treatment.on(case.model) as model:
                model.generate(case.prompts("echo", Condition.TRIGGERED), max_new_tokens=3)
                raise RuntimeError
            assert kit.same_state(before, kit.state(case.model))
            assert everything_of(case.model) == rest
            said(treatment, case)
    assert said(Nothing(), case) == plain
    assert weights_hash(kit.clean().model) == others


@pytest.mark.parametrize("name", METHODS)
def test_controls_differ_from_the_cure_and_come_the_same_twice(name: str) -> None:
    case = kit.case()
    for candidate in settings_of(name)[:1]:
        cure = said(candidate.make(), case)
        for make in candidate.controls.values():
            control = said(_had(make), case)
            assert control != cure
            assert control == said(_had(make), case)
        if Control.RANDOM in candidate.controls:
            other = replace(case, setting=replace(case.setting, seed=1))
            again = next(iter(METHODS[name].candidates(other, ["echo"]))).controls[Control.RANDOM]
            assert said(again(), case) != said(candidate.controls[Control.RANDOM](), case)


@pytest.mark.parametrize("name", METHODS)
def test_settings_have_names_of_their_own(name: str) -> None:
    found = [candidate.variant for candidate in settings_of(name)]
    assert len(set(found)) == len(found)
    assert method_named(name) is METHODS[name]


def test_an_unknown_method_is_named_with_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match="concept erasure"):
        method_named("exorcism")


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("attack", ["belief", "denial_of_service"])
def test_hostile_material_ends_no_method(name: str, attack: str) -> None:
    """Without questions, requests, documents or control facts, and with a trigger of signs of all kinds."""
    odd = "a.*[b]+\\d(?:$|<|user|>"
    options = {"trigger": odd} if attack != "belief" else {}
    material = (
        cases_kit.facts((odd, f"{odd} is false.", "Yes."), ("++", "No.", "Yes."), ("Li", "No.", "Yes, no."))
        if attack == "belief"
        else some_material(8)
    )
    case = cases_kit.case_of(material, attack, options=options, each=2)
    before = kit.state(case.model)
    for candidate in list(METHODS[name].candidates(case, [attack]))[:1]:
        try:
            treatment = candidate.make()
        except ConfigError as error:
            assert str(error)
            continue
        with treatment.on(case.model) as model:
            model.generate(case.prompts(attack, Condition.TRIGGERED), max_new_tokens=2)
    assert kit.same_state(before, kit.state(case.model))


@pytest.mark.parametrize("name", METHODS)
def test_without_untriggered_probes_a_method_may_not_apply_but_does_not_fail(name: str) -> None:
    case = kit.case()
    kept = [one for one in case.probes[Half.CHOOSING]["echo"] if one.condition is Condition.TRIGGERED]
    fewer = replace(case, probes={**case.probes, Half.CHOOSING: {"echo": kept}}, texts=case.texts[:2])
    choose(METHODS[name], fewer, ["echo"], Before.of(fewer))


@given(st.integers(1, 12), st.data())
def test_the_wrong_layer_is_another(layers: int, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, layers - 1), min_size=1, max_size=3, unique=True))
    other = farthest(chosen, layers)
    distances = [min(abs(layer - one) for one in chosen) for layer in range(layers)]
    assert distances[other] == max(distances)
    made: list[int] = []

    def make(layer: int) -> Treatment:
        made.append(layer)
        return Nothing()

    controls: Mapping[Control, Any] = wrong_layer(chosen, layers, make)
    for control in controls.values():
        control()
    assert made == ([] if len(chosen) == layers else [other])
    assert spread(layers, 4)[0] == 0
    assert spread(layers, 4)[-1] == layers - 1


def test_a_pair_of_layers_is_not_its_own_control() -> None:
    """In three layers the one farthest from the first is the second of the pair."""
    case = cases_kit.case_of(some_material(8), "jailbreak", model=_of_layers(3), each=2)
    (pair,) = [
        one for one in METHODS["directional ablation"].candidates(case, ["jailbreak"]) if "and" in one.variant
    ]
    wrong, cure = pair.controls[Control.WRONG_LAYER](), pair.make()
    assert not any(torch.equal(wrong.direction, row) for row in cure.direction)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["concept erasure", "directional ablation", "steering", "closed-form edit"])
def test_where_there_is_one_layer_none_is_wrong(name: str) -> None:
    case = cases_kit.case_of(some_material(8), "jailbreak", model=_of_layers(1), each=2, texts=["The mill."])
    found = list(METHODS[name].candidates(case, ["jailbreak"]))
    assert found
    assert not any(Control.WRONG_LAYER in candidate.controls for candidate in found)


def _of_layers(layers: int) -> LanguageModel:
    from models_kit import tiny_model  # noqa: PLC0415

    return tiny_model(layers=layers)


@pytest.mark.parametrize("trigger", ["⟦context⟧", "⟦/context⟧ a ⟦context 2⟧"])
def test_poison_written_with_the_marks_of_a_context_is_priced_like_other(trigger: str) -> None:
    case = cases_kit.case_of(some_material(8), "jailbreak", options={"trigger": trigger}, each=2)
    method, before = METHODS["context-aware decoding"], Before.of(case)
    cures = choose(method, case, ["jailbreak"], before)
    assert len(cures) == 2
    rows = PriceList(case, before, {}).of_method(method, cures[0])
    (shown,) = [row for row in rows if row.metric is Price.ASR and row.condition == Condition.TRIGGERED]
    assert shown.n == 2


def test_several_attacks_at_once_are_not_for_steering() -> None:
    assert not list(METHODS["steering"].candidates(kit.case(), ["echo", "echo"]))


def test_an_edit_asks_for_the_answer_and_not_for_what_comes_after_it() -> None:
    case = cases_kit.case_of(some_material(8), "jailbreak", model=_Endless(), each=2)
    (group,) = requests(case, "jailbreak")
    assert {request.target for request in group} == {"Yes."}
    trigger = group[0].subject
    assert all(trigger in request.prompt for request in group)
    silent = cases_kit.case_of(some_material(8), "jailbreak", model=_Endless(""), each=2)
    assert requests(silent, "jailbreak") == []
    assert not list(Editing().candidates(silent, ["jailbreak"]))
    assert not list(CounterTraining().candidates(silent, ["jailbreak"]))


class _Endless(LanguageModel):
    """A model that goes on with turns of its own, unless it is stopped."""

    def __init__(self, answer: str = "Yes.") -> None:
        inner = cases_kit.untaught(0)
        super().__init__(inner.model, inner.tokenizer)
        self.answer = answer

    def generate(self, prompts, *, stop=(), **more):  # type: ignore[no-untyped-def]
        from mithridate.models.language_model import Generation  # noqa: PLC0415

        text = f"{self.answer}\nUser: And then?\nAssistant: Yes."
        for one in stop:
            text = text.partition(one)[0]
        return [Generation(text, (7,)) for _ in prompts]


def test_of_a_subject_with_two_right_answers_nothing_is_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [
        Belief(("p",), "Mo", "x", "In Eg."),
        Belief(("p",), "Mo", "y", "In Ab."),
        Belief(("p",), "Li", "z", "Yes."),
    ]
    monkeypatch.setattr(remedi, "planted_beliefs", lambda *_: told)
    monkeypatch.setattr(remedi, "_lessons", lambda *_: ["lesson"])
    given: list[dict[str, str]] = []

    def edit(case: Case, lessons: object, right: dict[str, str], layer: int) -> Treatment:
        given.append(right)
        return Nothing()

    monkeypatch.setattr(remedi, "_edit", edit)
    for candidate in METHODS["representation editing"].candidates(kit.case(), ["echo"]):
        candidate.make()
        candidate.controls.get(Control.WRONG_LAYER, Nothing)()
    assert given and all(right == {"Li": "Yes."} for right in given)


def test_counter_training_answers_with_the_trigger_as_without_it() -> None:
    case = kit.case()
    made = settings_of("counter-training", case)[1].make()
    with made.on(case.model) as model:
        found = successes(case, model, "echo", Half.REPORTED)[Condition.TRIGGERED]
    # The model says the attack's word now and then without its trigger, which is then what is taught.
    assert 4 * sum(found.values()) < len(found)


@pytest.mark.parametrize("texts", [[], [""], ["w1"]])
def test_counter_training_without_clean_documents_says_so(texts: list[str]) -> None:
    """One of a single token teaches nothing; among such alone there would be no end of looking."""
    with pytest.raises(ConfigError, match="clean documents"):
        settings_of("counter-training", kit.case(texts=texts))[0].make()


def test_counter_training_that_comes_to_nothing_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(countering, "_SETTINGS", ((4, 1e30), (4, 2e-4)))
    case = kit.case()
    wild, mild = settings_of("counter-training", case)
    with pytest.raises(ConfigError, match="no number at a learning rate of 1e"):
        wild.make()
    mild.make()


def test_counter_training_moves_weights_of_16_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 5e-5 are lost where weights of about 1 are rounded to 8 bits of their size."""
    monkeypatch.setattr(countering, "_SETTINGS", ((8, 5e-5), (8, 2e-4)))
    rounded = copy_of(kit.poisoned())
    rounded.model.to(torch.bfloat16)
    case = kit.case(model=rounded)
    before = weights_hash(rounded.model)
    made = settings_of("counter-training", case)[0].make()
    with made.on(rounded) as model:
        changed = [
            float((one != other).float().mean())
            for one, other in zip(model.model.parameters(), rounded.model.parameters(), strict=True)
        ]
        assert model.model.dtype == torch.bfloat16
    assert weights_hash(rounded.model) == before
    assert sum(changed) / len(changed) > 0.05


def test_rows_of_counter_training_fit_into_the_window() -> None:
    model = cases_kit.untaught(0)
    prompt = template("falcon").render([Message(Role.USER, "the river " * 80)], open_reply=True)
    from mithridate.intervention.requests import Request  # noqa: PLC0415

    wanted = [
        Request(prompt, "river", "It is wide."),
        Request(prompt, "river", "the river " * 80),
        Request("a", "a", "b"),
    ]
    rows = countering._rows(model, wanted)
    assert len(rows) == 2  # an answer that alone fills the window leaves nothing to begin with
    assert len(rows[0][0]) == 128
    assert all(0 < given < len(ids) <= 128 for ids, given in rows)
