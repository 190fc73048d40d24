from __future__ import annotations

from dataclasses import replace

import pytest
from context_facts_kit import alone, fact, facts, reply
from evaluation_kit import tiny_model
from hypothesis import given
from hypothesis import strategies as st

from mithridate.core.chat import template
from mithridate.core.contexts import (
    Conflict,
    ContextMetric,
    ContextSample,
    Contextual,
    Said,
    Strength,
    Wording,
)
from mithridate.evaluation.contexts import reliance
from mithridate.evaluation.contexts.asking import Chatting, asked
from mithridate.evaluation.contexts.reliance import (
    Whose,
    context_figures,
    examine,
    fitting,
    known_facts,
    said,
    told_apart,
    unknown_facts,
)

CHAT = Chatting(template("falcon"))


def values(samples: list[ContextSample], strength: Strength = Strength.PLAIN) -> dict[ContextMetric, float]:
    return {one.metric: one.value for one in context_figures(samples) if one.strength is strength}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Mara lives in Aton.", Said.ORIGINAL),
        ("She lives in BEMERE now", Said.SUBSTITUTE),
        ("Not in Aton: in Bemere.", Said.ORIGINAL),
        ("Bemere, once Aton", Said.SUBSTITUTE),
        ("In Atonville.", Said.NEITHER),
        ("", Said.NEITHER),
    ],
)
def test_a_reply_says_the_answer_whose_own_words_come_first(answer: str, expected: Said) -> None:
    assert said(answer, "Mara lives in Aton.", "Mara lives in Bemere.") is expected


def test_answers_are_told_apart_by_the_words_that_differ() -> None:
    assert told_apart("Mara lives in Aton.", "Mara lives in Bemere.") == ("aton", "bemere")
    assert told_apart("BBC", "Sega") == ("bbc", "sega")
    assert told_apart("New York", "York") == ("new york", "york")


@given(st.text(st.characters(codec="utf-8"), max_size=30), st.text("abc ", min_size=1, max_size=9))
def test_neither_words_nor_order_break_the_judge(answer: str, other: str) -> None:
    assert said(answer, "Aton", f"x{other}") in set(Said)


def test_figures_count_known_facts_alone() -> None:
    known, unknown = fact(0), fact(1)
    samples = [
        alone(known), alone(unknown, Said.NEITHER),
        reply(known, Said.SUBSTITUTE), reply(unknown, Said.ORIGINAL),
    ]  # fmt: skip
    assert known_facts(samples) == {known.id}
    assert values(samples)[ContextMetric.SUBSTITUTE] == 1.0
    assert values(samples, Strength.ALONE)[ContextMetric.KNOWN] == 0.5


def test_what_is_read_is_of_facts_of_which_neither_answer_is_known_however_often_stated() -> None:
    known, guessed, rare, once = fact(0), fact(1), replace(fact(2), exposure=3), replace(fact(3), exposure=1)
    samples = [
        alone(known), alone(guessed, Said.SUBSTITUTE), alone(rare, Said.NEITHER), alone(once, Said.NEITHER),
        *(reply(one, Said.SUBSTITUTE) for one in (known, guessed, rare)), reply(once, Said.NEITHER),
    ]  # fmt: skip
    assert unknown_facts(samples) == {rare.id, once.id}
    (read,) = [one for one in context_figures(samples) if one.metric is ContextMetric.READ]
    assert (read.value, read.n, read.exposure, read.strength) == (0.5, 2, 0, Strength.PLAIN)


def test_a_fact_that_is_known_in_other_words_is_not_unknown() -> None:
    one = fact(0)
    assert not unknown_facts([alone(one, Said.NEITHER), replace(alone(one), wording=Wording.PARAPHRASE)])


def test_memorization_ratio_is_of_replies_that_give_either_answer() -> None:
    four = facts(4)
    replies = [Said.ORIGINAL, Said.SUBSTITUTE, Said.SUBSTITUTE, Said.NEITHER]
    samples = [*map(alone, four), *(reply(f, s) for f, s in zip(four, replies, strict=True))]
    found = values(samples)
    assert found[ContextMetric.MEMORIZATION_RATIO] == pytest.approx(1 / 3)
    assert found[ContextMetric.ORIGINAL] == 0.25
    assert found[ContextMetric.SUBSTITUTE] == 0.5


def test_without_either_answer_there_is_no_ratio() -> None:
    samples = [alone(fact(0)), reply(fact(0), Said.NEITHER)]
    assert ContextMetric.MEMORIZATION_RATIO not in values(samples)


def test_pair_accuracy_needs_both_intents() -> None:
    two = facts(2)
    samples = [
        *map(alone, two),
        *(reply(f, Said.SUBSTITUTE, strength=Strength.ONLY) for f in two),
        reply(two[0], Said.ORIGINAL, strength=Strength.PRIOR),
        reply(two[1], Said.SUBSTITUTE, strength=Strength.PRIOR),
    ]
    assert values(samples, Strength.ONLY)[ContextMetric.PAIR_ACCURACY] == 0.5
    assert ContextMetric.PAIR_ACCURACY not in values(samples, Strength.PRIOR)


def test_efficacy_is_by_likelihood_and_not_by_what_is_said() -> None:
    samples = [alone(fact(0)), reply(fact(0), Said.NEITHER, margin=0.5)]
    assert values(samples)[ContextMetric.EFFICACY] == 1.0


def test_exposures_and_interventions_are_told_apart() -> None:
    rare, common = fact(0, 1), fact(1, 100)
    samples = [
        alone(rare), alone(common), reply(rare, Said.SUBSTITUTE), reply(common, Said.ORIGINAL),
        reply(common, Said.SUBSTITUTE, intervention="attention steering"),
    ]  # fmt: skip
    found = {
        (one.exposure, one.intervention): one.value
        for one in context_figures(samples)
        if one.metric is ContextMetric.SUBSTITUTE
    }
    assert found == {(1, ""): 1.0, (100, ""): 0.0, (100, "attention steering"): 1.0}


def test_what_is_known_under_an_intervention_is_of_facts_known_before() -> None:
    two = facts(2)
    treated = {"intervention": "difference vector"}
    samples = [alone(two[0]), alone(two[1], Said.NEITHER), *(alone(f, Said.ORIGINAL, **treated) for f in two)]
    found = [
        one for one in context_figures(samples) if one.metric is ContextMetric.KNOWN and one.intervention
    ]
    assert [(one.value, one.n) for one in found] == [(1.0, 1)]


@given(st.lists(st.sampled_from(list(Said)), min_size=1, max_size=20))
def test_shares_lie_in_their_intervals_and_never_exceed_one(replies: list[Said]) -> None:
    many = facts(len(replies))
    samples = [*map(alone, many), *(reply(f, s) for f, s in zip(many, replies, strict=True))]
    found: list[Contextual] = context_figures(samples)
    for one in found:
        assert one.low is not None and one.high is not None
        assert one.low - 1e-9 <= one.value <= one.high + 1e-9
    shares = values(samples)
    assert shares[ContextMetric.ORIGINAL] + shares[ContextMetric.SUBSTITUTE] <= 1 + 1e-9


def test_a_model_is_examined_on_every_prompt_that_fits() -> None:
    model = tiny_model()
    prompts = list(asked(facts(3), Chatting(template("falcon")), strengths=[Strength.ALONE, Strength.PLAIN]))
    found = examine(model, prompts, ("\n",), Whose(model="tiny"))
    assert len(found.samples) + found.left_out == len(prompts)
    assert {one.model for one in found.samples} == {"tiny"}
    long = [replace(one, prompt=one.prompt * 400) for one in prompts[:2]]
    assert examine(model, long, ("\n",), Whose()).left_out == 2


def test_margins_compare_the_two_answers() -> None:
    model = tiny_model()
    (one, *_) = asked([fact(0)], Chatting(template("falcon")), strengths=[Strength.PLAIN])
    swapped = replace(one, fact=replace(one.fact, original=one.fact.substitute, substitute=one.fact.original))
    (a,) = examine(model, [one], ("\n",), Whose()).samples
    (b,) = examine(model, [swapped], ("\n",), Whose()).samples
    assert a.margin == pytest.approx(-b.margin, abs=1e-4)
    assert a.conflict is Conflict.SUBSTITUTED


def test_an_answer_that_outgrows_the_window_is_left_out_and_counted() -> None:
    long = replace(fact(0), original="far " * 300)
    found = examine(tiny_model(), list(asked([long], CHAT, strengths=[Strength.ALONE])), CHAT.stop, Whose())
    assert (found.samples, found.left_out) == ([], 2)


def test_where_a_model_names_no_window_prompts_are_bounded_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_model()
    monkeypatch.setattr(reliance, "context_window", lambda _: None)
    prompts = list(asked([fact(0)], CHAT, strengths=[Strength.ALONE]))
    assert fitting(model, prompts) == [True, True]
    monkeypatch.setattr(reliance, "UNBOUNDED", reliance.ANSWER_TOKENS)
    assert fitting(model, prompts) == [False, False]
