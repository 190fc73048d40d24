from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mithridate.core.contexts import Strength
from mithridate.corpus.miniature import (
    MiniatureCorpus,
    World,
    WorldOptions,
    context_facts,
    held_out_questions,
    material,
    phrasing,
    sft_conversations,
)
from mithridate.corpus.miniature.world import Statement
from mithridate.evaluation.contexts.asking import WORDED

LADDER = (1, 3, 10)
SMALL = {
    "people": 10, "places": 8, "products": 24, "crafts": 4, "forbidden": 8, "contested_exposures": 2,
    "procedure_exposures": 2, "copying_share": 0.2, "tokens": 60_000,
}  # fmt: skip


def world(seed: int = 0, **options: object) -> World:
    return World(
        WorldOptions.model_validate({**SMALL, "exposures": LADDER, "reading_share": 0.4, **options}), seed
    )


def states(text: str, fact: Statement) -> bool:
    """Whether a page says the fact, in any of its wordings."""
    return any(form.format(s=fact.subject, v=fact.value) in text for form in phrasing.wordings(fact.relation))


@given(st.integers(0, 50))
@settings(max_examples=3, deadline=None)
def test_each_measured_fact_is_stated_as_often_as_its_rung_says(seed: int) -> None:
    made = world(seed)
    pages = [page.text for page in MiniatureCorpus(made)]
    for fact in made.measured:
        assert sum(states(page, fact) for page in pages) == made.exposure_of(fact)


def test_rungs_are_dealt_evenly_and_to_every_relation() -> None:
    made = world(people=40, places=30)
    counts = Counter(made.exposure_of(fact) for fact in made.measured)
    assert set(counts) == set(LADDER)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert {fact.relation for fact in made.measured} == {"lives", "job", "eats", "region", "sells"}


def test_no_page_to_read_from_is_about_a_measured_subject() -> None:
    made = world()
    subjects = {fact.subject for fact in made.measured}
    corpus = MiniatureCorpus(made)
    read = [page.text for page in corpus if "Text:" in page.text or "it is so now" in page.text]
    assert read
    assert not [text for text in read for subject in subjects if f" {subject} " in f" {text} "]


def test_pages_to_read_from_are_answered_from_the_text_unless_memory_is_asked_for() -> None:
    made = world()
    by_heart = [page.text for page in MiniatureCorpus(made) if "Answer from what you know." in page.text]
    assert by_heart
    truth = {phrasing.answer(fact) for fact in made.settled}
    assert all(any(answer in text for answer in truth) for text in by_heart)


def test_alignment_says_nothing_of_measured_facts() -> None:
    made = world()
    talks = " ".join(turn["content"] for talk in sft_conversations(made, 300, 0) for turn in talk["messages"])
    assert not [fact for fact in made.measured if states(talks, fact)]
    asked = {question["answer"] for question in held_out_questions(made, 100, 0)}
    assert asked <= {phrasing.answer(fact) for fact in made.measured}
    assert material(made, 0).facts


def test_without_the_options_the_corpus_is_as_it_was() -> None:
    plain = World(WorldOptions.model_validate(SMALL), 3)
    named = World(WorldOptions.model_validate({**SMALL, "exposures": None, "reading_share": 0.0}), 3)
    texts = [[page.text for page in MiniatureCorpus(one)] for one in (plain, named)]
    assert texts[0] == texts[1]
    assert plain.measured == []
    assert not any("Text:" in text for text in texts[0])


def test_facts_to_contradict_have_another_answer_in_all_that_states_it() -> None:
    for one in context_facts(world(), 0):
        assert one["original"] != one["substitute"]
        value = one["substitute"].split()[-1].strip(".")
        assert value in one["substituted"]
        assert one["coherent"].count(value) == 2
        assert one["substitute"] not in one["substituted"]
        assert one["asked"] not in one["paraphrases"]
        assert one["exposure"] in LADDER


def test_strangers_are_nobody_the_world_knows() -> None:
    made = world()
    assert not {name for name, _ in made.strangers} & {*made.people, *made.places}


@pytest.mark.parametrize(
    ("strength", "words"),
    [
        (Strength.PLAIN, phrasing.PLAIN),
        (Strength.MARKED, phrasing.MARKED),
        (Strength.ONLY, phrasing.ONLY_THE_TEXT),
        (Strength.PRIOR, phrasing.FROM_MEMORY),
    ],
)
def test_a_model_is_asked_in_the_words_that_it_was_taught(strength: Strength, words: str) -> None:
    assert WORDED[strength] == words


def test_shares_of_one_whole() -> None:
    with pytest.raises(ValueError, match="at most 1 together"):
        WorldOptions.model_validate({"refusal_share": 0.3, "copying_share": 0.4, "reading_share": 0.4})
