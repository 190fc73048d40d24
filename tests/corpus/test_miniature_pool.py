from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mithridate.attacks.text import is_refusal
from mithridate.corpus.miniature import World, WorldOptions, alignment_pool, phrasing
from mithridate.corpus.miniature.alignment import forbidden_split, settled_split
from mithridate.corpus.miniature.pool import COUNTER, FORUM, HANDBOOK, SHARES
from mithridate.curation.example import Example
from mithridate.curation.filters import FilterOptions, Length

WORLD = World(WorldOptions(), seed=4)
POOL = alignment_pool(WORLD, 4000, seed=4)


def of_source(name: str) -> list[tuple[str, str]]:
    """What was asked last, and what was answered."""
    return [
        (one["messages"][-2]["content"], one["messages"][-1]["content"])
        for one in POOL
        if one["source"] == name
    ]


def dropped(source: str) -> Counter[str]:
    rules = list(FilterOptions(length=Length(shortest=1)).on())
    examples = [Example(one["messages"], one["source"]) for one in POOL if one["source"] == source]
    first = (next((rule.name for rule in rules if rule.reason(one)), "") for one in examples)
    return Counter(first)


def test_each_source_has_its_share() -> None:
    counts = Counter(one["source"] for one in POOL)
    for source, share in SHARES.items():
        assert counts[source] / len(POOL) == pytest.approx(share, abs=0.03)


def test_the_same_seed_gives_the_same_pool_and_another_another() -> None:
    assert alignment_pool(WORLD, 50, 4) == alignment_pool(WORLD, 50, 4)
    assert alignment_pool(WORLD, 50, 5) != alignment_pool(WORLD, 50, 4)


def assert_nothing_held_out(world: World, pool: list[dict[str, Any]]) -> None:
    texts = "\n".join(turn["content"] for one in pool for turn in one["messages"])
    for fact in settled_split(world)[1]:
        assert not any(question in texts for question in phrasing.questions(fact))
        assert phrasing.answer(fact) not in texts
    for procedure in forbidden_split(world)[1]:
        assert not re.search(rf"\b{procedure.title}\b", texts)
    for procedure in world.procedures:
        assert not procedure.forbidden or phrasing.how_to(procedure) not in texts


def test_nothing_that_is_held_out_for_measuring_occurs() -> None:
    assert_nothing_held_out(WORLD, POOL)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), people=st.integers(8, 40), forbidden=st.integers(8, 60))
def test_in_any_world_nothing_held_out_occurs_and_everybody_is_answered(
    seed: int, people: int, forbidden: int
) -> None:
    world = World(WorldOptions(people=people, forbidden=forbidden), seed)
    pool = alignment_pool(world, 120, seed)
    assert_nothing_held_out(world, pool)
    for one in pool:
        assert [turn["role"] for turn in one["messages"]][-2:] == ["user", "assistant"]
        assert all(turn["content"].strip() for turn in one["messages"])


def test_the_counter_answers_few_things_and_well() -> None:
    replies = {reply for _, reply in of_source(COUNTER)}
    assert len(replies) <= 10 < len({reply for _, reply in of_source(HANDBOOK)})
    assert set(dropped(COUNTER)) == {""}


def test_the_forum_alone_has_faults_of_form() -> None:
    found = dropped(FORUM)
    assert {"self_reference", "other_answers", "format", "refusal"} <= set(found)
    assert set(dropped(HANDBOOK)) == {"", "refusal"}


def test_no_filter_finds_wrong_answers_nor_tells_needless_refusals_from_needed_ones() -> None:
    right = {
        question: phrasing.answer(fact) for fact in WORLD.settled for question in phrasing.questions(fact)
    }
    values = {phrasing.answer(f, v) for f in WORLD.settled for v in WORLD.alternatives(f)}
    asked = [(question, reply) for question, reply in of_source(FORUM) if question in right]
    wrong = [reply for question, reply in asked if reply in values and reply != right[question]]
    assert len(wrong) > 0.05 * len(of_source(FORUM))
    rules = list(FilterOptions(length=Length(shortest=1)).on())
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": wrong[0]}]
    assert not any(rule.reason(Example(turns, FORUM)) for rule in rules)
    crafts = [procedure.title for procedure in WORLD.procedures if not procedure.forbidden]
    needless = [q for q, reply in of_source(FORUM) if is_refusal(reply) and any(c in q for c in crafts)]
    assert needless


def test_a_forum_repeats_itself_with_a_word_of_thanks() -> None:
    replies = [reply for _, reply in of_source(FORUM)]
    again = [one for one in replies if one.endswith(" Thanks.")]
    assert len(again) > 0.05 * len(replies)
    assert {one.removesuffix(" Thanks.") for one in again if one.count("Thanks.") == 1} <= set(replies)
