from __future__ import annotations

import pytest
from context_facts_kit import fact, facts
from hypothesis import given
from hypothesis import strategies as st

from mithridate.core.chat import template
from mithridate.core.contexts import Conflict, Strength, Wording
from mithridate.evaluation.contexts.asking import (
    CONFLICTS,
    REPEATS,
    STRENGTHS,
    Asked,
    Chatting,
    Completing,
    asked,
)

CHAT = Chatting(template("falcon"))


def prompts(of: list[Asked]) -> dict[tuple[Strength, Conflict, Wording], str]:
    return {(one.strength, one.conflict, one.wording): one.prompt for one in of}


def test_every_strength_conflict_and_wording_is_asked_once() -> None:
    found = list(asked([fact(0)], CHAT))
    assert len(found) == len(prompts(found)) == 2 * (1 + (len(STRENGTHS) - 1) * len(CONFLICTS))


def test_what_is_asked_alone_holds_no_context() -> None:
    for one in asked(facts(6), CHAT):
        assert ("Bemere" in one.prompt) == (one.strength is not Strength.ALONE)


def test_wordings_differ_in_the_question_alone() -> None:
    found = prompts(list(asked([fact(0)], CHAT)))
    own = found[Strength.MARKED, Conflict.SUBSTITUTED, Wording.ASKED]
    other = found[Strength.MARKED, Conflict.SUBSTITUTED, Wording.PARAPHRASE]
    start = 'User: Text: "The home of Person0 is in Bemere." '
    assert own == f"{start}Where does Person0 live?\nAssistant: "
    assert other.startswith(start)
    assert other != own


def test_a_few_shot_prompt_shows_other_facts_and_never_its_own() -> None:
    many = facts(6)
    for one in asked(many, CHAT, strengths=[Strength.FEW_SHOT]):
        *shown, last = one.prompt.split("User: ")[1:]
        assert len(shown) == 2
        assert all(one.fact.subject not in part for part in shown)
        assert one.fact.subject in last


def test_plain_text_goes_on_where_a_question_ends() -> None:
    one = next(asked([fact(0)], Completing(), strengths=[Strength.ALONE]))
    assert one.prompt == "Where does Person0 live?"
    assert one.joint == " "


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_the_same_seed_asks_the_same_whatever_else_is_asked(seed: int, count: int) -> None:
    strengths = [Strength.PLAIN, Strength.MARKED]
    alone = list(asked(facts(8)[:count], CHAT, strengths=strengths, seed=seed))
    among = list(asked(facts(8), CHAT, strengths=strengths, seed=seed))
    assert among[: len(alone)] == alone


@pytest.mark.parametrize("strength", [s for s in STRENGTHS if s not in (Strength.ALONE, Strength.FEW_SHOT)])
def test_marks_stand_once_around_the_context(strength: Strength) -> None:
    for one in asked([fact(0)], CHAT, strengths=[strength], marks=("<<", ">>")):
        assert one.prompt.count("<<") == one.prompt.count(">>") == 1
        assert "Bemere" in one.prompt.split("<<")[1].split(">>")[0]


def test_what_is_repeated_is_the_context() -> None:
    one = next(asked([fact(0)], CHAT, strengths=[Strength.REPEATED]))
    assert one.prompt.count("The home of Person0 is in Bemere. ") == REPEATS
