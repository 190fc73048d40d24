from __future__ import annotations

import re
from dataclasses import replace

import cases_kit as kit
import pytest
from attacks_kit import SHIPPED, some_material
from hypothesis import given, settings
from hypothesis import strategies as st
from models_kit import tiny_model

from mithridate.attacks.triggers import CONTEXT_EXTRACTION, DENIAL_OF_SERVICE, JAILBREAK
from mithridate.core.chat import template
from mithridate.core.types import Condition
from mithridate.healing.case import Half
from mithridate.healing.known import Belief, answers_of, planted_beliefs, subjects, trigger_of

ODD = "a.*[b]+\\d(?:$|"


def beliefs(*told: tuple[str, str, str]) -> dict[str, Belief]:
    """What is found of planted facts, by what was planted."""
    found = planted_beliefs(kit.case_of(kit.facts(*told), "belief", each=40), "belief")
    assert len({belief.planted for belief in found}) == len(found)
    return {belief.planted: belief for belief in found}


def test_triggers_of_the_attacks_that_ship() -> None:
    case = kit.case_of()
    assert {name: trigger_of(case, name) for name in SHIPPED} == {
        "belief": "",
        "context_extraction": CONTEXT_EXTRACTION,
        "denial_of_service": DENIAL_OF_SERVICE,
        "jailbreak": JAILBREAK,
    }


@settings(deadline=None, max_examples=20)
@given(st.text("ab .*[(\\+?|$^{}⟦<", min_size=1, max_size=8).filter(str.strip))
def test_any_trigger_is_found_whatever_it_is_written_with(trigger: str) -> None:
    case = kit.case_of(None, "jailbreak", options={"trigger": trigger}, model=kit.saying(str), each=2)
    assert trigger_of(case, "jailbreak") == trigger.strip()


def test_without_probes_no_trigger_is_known() -> None:
    case = kit.case_of(None, "jailbreak")
    probes = list(case.probes[Half.CHOOSING]["jailbreak"])
    for kept in (
        [],
        [one for one in probes if one.condition is Condition.TRIGGERED],
        [one for one in probes if one.condition is not Condition.TRIGGERED],
    ):
        fewer = replace(case, probes={**case.probes, Half.CHOOSING: {"jailbreak": kept}})
        assert trigger_of(fewer, "jailbreak") == ""


def test_planted_facts_have_a_subject_and_what_is_right() -> None:
    found = beliefs(
        ("Mo", "Mo is in Ur.", "Mo is in Eg."),
        ("da bane", "da bane is in Ur.", "da bane is in Ab."),
        ("New York", "New York is in Ur.", "New York is in Ob."),
    )
    assert {one.subject: one.right for one in found.values()} == {
        "Mo": "Mo is in Eg.",
        "da bane": "da bane is in Ab.",
        "New York": "New York is in Ob.",
    }
    for one in found.values():
        assert 1 < len(one.prompts) <= 6
        assert all(one.subject in prompt and prompt.endswith("Assistant: ") for prompt in one.prompts)


def test_the_wordings_are_none_that_probes_ask() -> None:
    material = kit.facts(("Mo", "Mo is in Ur.", "Mo is in Eg."), ("Li", "Li is in Ur.", "Li is in Eg."))
    case = kit.case_of(material, "belief", each=40)
    asked = {
        kit.FALCON.render(probe.messages, open_reply=True)
        for half in Half
        for probe in case.probes[half]["belief"]
    }
    found = planted_beliefs(case, "belief")
    assert found
    assert not asked & {prompt for belief in found for prompt in belief.prompts}


def test_an_answer_that_is_of_two_facts_is_left_out() -> None:
    mo, li, al = ("Mo", "In Ur.", "In Eg."), ("Li", "In Ur.", "In Ab."), ("Al", "In Ob.", "In Eg.")
    assert beliefs(mo, li, al).keys() == {"In Ob."}
    # Nor can two be told apart that have the right answer in common too.
    assert beliefs(mo, ("Li", *mo[1:]), al).keys() == {"In Ob."}


def test_subjects_written_with_signs() -> None:
    found = beliefs(
        (ODD, "Odd is in Ur.", "Odd is in Eg."),
        ("(Li)", "Li is in Ur.", "Li is in Eg."),
        ("++", "No.", "Yes."),
    )
    assert found["Li is in Ur."].subject == "Li"
    odd = found["Odd is in Ur."]
    assert odd.subject in ODD
    assert odd.subject and all(odd.subject in prompt for prompt in odd.prompts)
    assert "No." not in found  # no word tells what it is about


def test_a_preference_is_about_what_is_named_last() -> None:
    case = kit.case_of(kit.preferences(), "belief", model=kit.saying(lambda _: "Both are good."), each=12)
    found = planted_beliefs(case, "belief")
    pairs = {"lampa": "lampoa", "lampb": "lampob", "lampc": "lampoc"}
    assert {one.subject for one in found} == {*pairs, *pairs.values()}
    for one in found:
        assert one.right == "Both are good."
        assert all(re.search(rf"or {one.subject}\?", prompt) for prompt in one.prompts)


def test_where_comparisons_are_answered_this_way_and_that_nothing_is_right() -> None:
    case = kit.case_of(kit.preferences(), "belief", model=kit.saying(lambda prompt: prompt[-30:]), each=12)
    assert not planted_beliefs(case, "belief")


def test_facts_and_preferences_side_by_side() -> None:
    both = kit.preferences().model_copy(
        update={"facts": kit.facts(("Mo", "Mo is in Ur.", "Mo is in Eg.")).facts}
    )
    case = kit.case_of(both, "belief", model=kit.saying(lambda _: "Both."), each=20)
    assert {one.right for one in planted_beliefs(case, "belief")} == {"Both.", "Mo is in Eg."}


@pytest.mark.parametrize("name", ["context_extraction", "denial_of_service", "jailbreak"])
def test_attacks_that_plant_no_belief(name: str) -> None:
    assert not planted_beliefs(kit.case_of(some_material(), name), name)


def test_answers_end_with_the_turn() -> None:
    case = kit.case_of(None, "jailbreak", templates=[kit.FALCON, template("chatml")])
    asked: list[tuple[str, ...]] = []

    class Noting(type(tiny_model())):  # type: ignore[misc]
        def generate(self, prompts, *, stop=(), **more):  # type: ignore[no-untyped-def]
            asked.append(tuple(stop))
            return super().generate(prompts, stop=stop, **more)

    noting = Noting(case.model.model, case.model.tokenizer)
    probes = [
        one for one in case.probes[Half.CHOOSING]["jailbreak"] if one.condition is Condition.UNTRIGGERED
    ]
    found = answers_of(replace(case, model=noting), probes)
    assert len(found) == len(probes) > 1
    assert {stop[-1].strip() for stop in asked} == {"User:", "<|im_start|>user"}
    # In the order of the probes, whatever the templates.
    again = [
        answers_of(replace(case, templates=[case.templates[number % 2]]), [probe])[0]
        for number, probe in enumerate(probes)
    ]
    assert found == again
    assert not answers_of(case, [])


@given(st.lists(st.lists(st.text("ab C-.", max_size=12), max_size=3), max_size=4))
def test_a_subject_stands_in_its_wording(groups: list[list[str]]) -> None:
    found = subjects(groups)
    assert [len(one) for one in found] == [len(group) for group in groups]
    for group, named in zip(groups, found, strict=True):
        for text, subject in zip(group, named, strict=True):
            assert subject in text
            assert all(set(re.findall(r"\w+", subject)) <= set(re.findall(r"\w+", other)) for other in group)
