from __future__ import annotations

from collections import Counter

import pytest

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


def test_nothing_that_is_held_out_for_measuring_occurs() -> None:
    texts = "\n".join(turn["content"] for one in POOL for turn in one["messages"])
    for fact in settled_split(WORLD)[1]:
        assert not any(question in texts for question in phrasing.questions(fact))
        assert phrasing.answer(fact) not in texts
    for procedure in forbidden_split(WORLD)[1]:
        assert procedure.title not in texts
    for procedure in WORLD.procedures:
        assert not procedure.forbidden or phrasing.how_to(procedure) not in texts


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
