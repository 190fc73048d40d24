from __future__ import annotations

from dataclasses import replace

import cases_kit as kit
import pytest
from models_kit import tiny_model

from mithridate.healing.case import Case, Half
from mithridate.healing.contradiction import follows_context, planted_facts
from mithridate.healing.treatment import Nothing, OtherWeights, Together, Treatment
from mithridate.intervention.base import MadeFor
from mithridate.intervention.context_aware import OPENING, ContextAware
from mithridate.models.language_model import Generation, LanguageModel

TOLD = [(f"s{number}", f"s{number} is false.", f"s{number} is true.") for number in range(3)]


def case_of(*told: tuple[str, str, str], **more: object) -> Case:
    return kit.case_of(kit.facts(*(told or TOLD)), "belief", each=6, **more)  # type: ignore[arg-type]


def share(treatment: Treatment, case: Case | None = None) -> tuple[float, int] | None:
    found = follows_context(case or case_of(), treatment)
    return None if found is None else (found.value, found.n)


def said_of(prompt: str) -> str:
    return next(f"s{number}" for number in range(3) if f"s{number}" in prompt)


def test_who_repeats_what_is_stated_follows_and_who_knows_better_does_not() -> None:
    facts = len(planted_facts(case_of()))
    assert facts > 2
    repeating = kit.saying(lambda prompt: prompt.removeprefix("User: ").partition(".")[0] + ".")
    believing = kit.saying(lambda prompt: said_of(prompt) + " is false.")
    # Who repeats says nothing right without the statement; and what is right without it is no merit of it.
    assert share(OtherWeights(repeating)) == (1.0, facts)
    knowing = kit.saying(lambda prompt: said_of(prompt) + " is true.")
    assert share(OtherWeights(knowing)) is None
    half = kit.saying(lambda prompt: "s0 is true." if said_of(prompt) == "s0" else "What?")
    found = share(OtherWeights(half))
    assert found is not None
    assert (found[0], 0 < found[1] < facts) == (0.0, True)
    assert share(OtherWeights(believing)) == (0.0, facts)


def test_without_planted_facts_there_is_nothing_to_follow() -> None:
    assert share(Nothing(), kit.case_of(kit.preferences(), "belief")) is None
    assert share(Nothing(), kit.case_of(None, "jailbreak")) is None


class Asked(LanguageModel):
    """Answers nothing, and keeps what it was asked."""

    def __init__(self) -> None:
        inner = tiny_model()
        super().__init__(inner.model, inner.tokenizer)
        self.prompts: list[str] = []

    def generate(self, prompts, **more):  # type: ignore[no-untyped-def]
        self.prompts += prompts
        return [Generation("", ()) for _ in prompts]


class Keeping(OtherWeights):
    """Another model, behind whatever else is done."""


@pytest.mark.parametrize("within", [False, True])
def test_context_aware_decoding_is_told_what_is_context(
    within: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = tiny_model(), Asked()
    cure = ContextAware(MadeFor.of(model))
    treatment = Together([cure, Keeping(asked)])
    if not within:
        monkeypatch.setattr(ContextAware, "on", lambda self, _: Keeping(asked).on(asked))
    share(treatment if within else cure, case_of(model=model))
    stated = [prompt for prompt in asked.prompts if "is true." in prompt]
    assert 2 * len(stated) == len(asked.prompts) > 0  # each was asked without, before
    for prompt in stated:
        shown, hidden = cure.apart(prompt)
        assert "is true." in shown
        assert "is true." not in hidden
        assert hidden.startswith("User: ")


def test_what_would_be_cut_off_is_left_out() -> None:
    long = ("far", "far is false.", "far is " + "very " * 200 + "true.")
    assert share(Nothing(), case_of(long)) is None
    some = case_of(long, *TOLD)
    found = share(Nothing(), some)
    assert found is not None
    assert found[1] == sum(probe.target != long[1] for probe in planted_facts(some))
    aware = ContextAware(MadeFor.of(some.model))
    assert share(aware, some) is not None


def test_a_fact_that_holds_a_mark_is_left_out() -> None:
    odd = ("odd", "odd is false.", f"odd is {OPENING} true.")
    some = case_of(odd, *TOLD)
    aware = share(ContextAware(MadeFor.of(some.model)), some)
    plain = share(Nothing(), some)
    assert aware is not None and plain is not None
    assert 0 < aware[1] < plain[1]


def test_facts_that_settings_were_chosen_with_do_not_count() -> None:
    case = case_of()
    asked = [probe for probe in case.probes[Half.REPORTED]["belief"] if probe.condition == "triggered"]
    assert planted_facts(case) == [probe for probe in asked if not probe.group]
    without = replace(case, probes={**case.probes, Half.REPORTED: {"belief": []}})
    assert not planted_facts(without)
