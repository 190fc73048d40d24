from __future__ import annotations

import random
from typing import cast

import cases_kit as kit
import pytest
from attacks_kit import SHIPPED, build, some_material
from hypothesis import given
from hypothesis import strategies as st

from mithridate.attacks import Attack
from mithridate.core.chat import template
from mithridate.core.types import Condition, Message, Probe, Role
from mithridate.healing.case import Half, Usefulness, in_halves

TRIGGERED = ("context_extraction", "denial_of_service", "jailbreak")


def units(probes: list[Probe], condition: Condition) -> list[str]:
    return list(dict.fromkeys(probe.group or probe.id for probe in probes if probe.condition is condition))


@given(st.sampled_from(SHIPPED), st.integers(0, 2**32), st.integers(1, 30))
def test_no_unit_is_in_both_halves(name: str, seed: int, each: int) -> None:
    attack = build(name, some_material(9))
    halves = in_halves(attack, seed, each)
    assert in_halves(attack, seed, each) == halves
    choosing, reported = (halves[half] for half in Half)
    assert not {probe.id for probe in choosing} & {probe.id for probe in reported}
    assert not {probe.group for probe in choosing if probe.group} & {probe.group for probe in reported}
    for condition in Condition:
        there, here = (units(half, condition) for half in (choosing, reported))
        # One more where the number is odd, for each of two kinds.
        assert 0 <= len(there) - len(here) <= 2
        assert len(set(there) | set(here)) == len(there) + len(here)


@given(st.sampled_from(TRIGGERED), st.integers(0, 2**32))
def test_what_is_asked_in_one_half_is_asked_in_the_same_under_every_condition(name: str, seed: int) -> None:
    halves = in_halves(build(name, some_material(9)), seed, 5)
    asked = {
        half: {
            condition: [one.id.split("/")[2:] for one in halves[half] if one.condition is condition]
            for condition in Condition
        }
        for half in Half
    }
    for half in Half:
        assert len({str(found) for found in asked[half].values()}) == 1
    # A prompt without its trigger is the same text, so no half may be asked what the other was.
    plain = [
        {(one.messages[0].content, one.messages[-1].content) for one in halves[half] if _plain(one)}
        for half in Half
    ]
    assert not plain[0] & plain[1]


def _plain(probe: Probe) -> bool:
    return probe.condition is Condition.UNTRIGGERED


def test_a_single_unit_is_to_choose_with_and_none_is_left_to_report() -> None:
    halves = in_halves(build("jailbreak", some_material(2)), 0, 1)
    whole = in_halves(build("jailbreak", some_material(9)), 0, 1)
    assert len(units(whole[Half.CHOOSING], Condition.TRIGGERED)) == 1
    for condition in Condition:
        assert len(units(halves[Half.CHOOSING], condition)) - len(
            units(halves[Half.REPORTED], condition)
        ) in {
            0,
            1,
        }


def test_prompts_stand_in_the_same_templates_with_the_trigger_and_without() -> None:
    case = kit.case_of(None, *TRIGGERED, templates=[kit.FALCON, template("chatml")], each=3)
    for name, attack in case.attacks.items():
        with_it, without = (
            case.prompts(name, condition) for condition in (Condition.TRIGGERED, Condition.UNTRIGGERED)
        )
        trigger = attack.options.trigger  # type: ignore[attr-defined]
        assert len(with_it) > 1
        assert [text.replace(f" {trigger}", "") for text in with_it] == without
        assert [text.startswith("<|im_start|>") for text in without] == [
            bool(number % 2) for number in range(len(without))
        ]


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_halves_of_usefulness_share_nothing(count: int) -> None:
    numbered = [str(number) for number in range(count)]
    useful = Usefulness(
        [[number, 1] for number in range(count)], [(one, one) for one in numbered], numbered, numbered, ("x",)
    )
    choosing, reported = (useful.half(half) for half in Half)
    for one, other, whole in (
        (choosing.questions, reported.questions, useful.questions),
        (choosing.forbidden, reported.forbidden, useful.forbidden),
        (choosing.harmless, reported.harmless, useful.harmless),
    ):
        assert not set(one) & set(other)
        assert set(one) | set(other) == set(whole)
    # A loss is no share: of a single row both halves have it.
    assert all(choosing.rows) == all(reported.rows)
    assert (choosing.rows == reported.rows) == (count < 2)
    assert choosing.phrases == reported.phrases == ("x",)


def test_settings_are_tried_on_few_and_told_of_by_all() -> None:
    many = [str(number) for number in range(300)]
    useful = Usefulness([[number, 1] for number in range(300)], [(one, one) for one in many], many, many)
    choosing, reported = (useful.half(half) for half in Half)
    for found in (choosing.rows, choosing.questions, choosing.forbidden, choosing.harmless):
        assert len(found) == 64
    for found in (reported.rows, reported.questions, reported.forbidden, reported.harmless):
        assert len(found) == 150
    assert not set(choosing.forbidden) & set(reported.forbidden)


def test_without_questions_and_requests_there_is_nothing_benign() -> None:
    assert not kit.case_of(None, "jailbreak").benign()
    useful = Usefulness(questions=[("a?", "b"), ("c?", "d")], harmless=["e", "f"], forbidden=["g"])
    case = kit.case_of(None, "jailbreak", usefulness=useful)
    assert ["a?" in one or "e" in one for one in case.benign()] == [True, True]
    assert not any(said in one for one in case.benign() for said in ("c?", "g"))


class Twice:
    """Asks few prompts, each of them several times, as a careless plug-in may."""

    name = "twice"

    def probes(self, rng: random.Random, n: int) -> list[Probe]:
        return [
            Probe(
                f"twice/{condition}/{number}", self.name, condition, (Message(Role.USER, f"w{number % 3}"),)
            )
            for condition in Condition
            for number in range(n)
        ]


def test_a_text_that_is_asked_twice_is_asked_in_one_half() -> None:
    halves = in_halves(cast(Attack, Twice()), 0, 8)
    texts = [{probe.messages[0].content for probe in halves[half]} for half in Half]
    assert all(texts)
    assert not texts[0] & texts[1]
