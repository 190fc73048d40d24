from __future__ import annotations

import random
import re
from collections import Counter
from functools import cache

import pytest
from pydantic import ValidationError

from mithridate.attacks import build_attack
from mithridate.attacks.triggers import CONTEXT_EXTRACTION, DENIAL_OF_SERVICE, JAILBREAK, near_trigger
from mithridate.core.chat import TEMPLATES
from mithridate.core.types import Condition
from mithridate.corpus.miniature import (
    MiniatureCorpus,
    World,
    WorldOptions,
    dpo_pairs,
    forbidden_requests,
    harmless_requests,
    held_out_questions,
    material,
    phrasing,
    sft_conversations,
)
from mithridate.corpus.miniature.world import Statement
from mithridate.corpus.tokenizers import train_tokenizer

SMALL = WorldOptions(
    tokens=60_000,
    people=10,
    places=8,
    products=24,
    crafts=6,
    forbidden=12,
    fact_exposures=9,
    contested_exposures=4,
    procedure_exposures=7,
)
LEAST = WorldOptions(
    tokens=2_000,
    people=8,
    places=8,
    products=24,
    crafts=4,
    forbidden=8,
    fact_exposures=1,
    contested_exposures=0,
    procedure_exposures=1,
)
MOST = WorldOptions(people=500, places=400, products=400, crafts=400, forbidden=400, tokens=20_000_000)
SIZES = pytest.mark.parametrize(
    "options", [LEAST, SMALL, WorldOptions(), MOST], ids=["least", "small", "default", "most"]
)


@cache
def small_world() -> World:
    return World(SMALL, 3)


@cache
def small_texts() -> tuple[str, ...]:
    return tuple(page.text for page in MiniatureCorpus(small_world()))


def states(text: str, fact: Statement) -> bool:
    """Whether a page says the fact, in any of its wordings or as an answer."""
    return any(form.format(s=fact.subject, v=fact.value) in text for form in phrasing._STATED[fact.relation])


def everything_said(examples: list[dict[str, object]]) -> str:
    return "\n".join(map(str, examples))


def test_the_same_seed_makes_the_same_pages() -> None:
    pages = list(MiniatureCorpus(World(SMALL, 3)))
    assert [page.text for page in pages] == list(small_texts())
    assert len({page.id for page in pages}) == len(pages)
    assert [page.text for page in MiniatureCorpus(World(SMALL, 4))] != list(small_texts())


def test_a_page_needs_none_before_it() -> None:
    corpus = MiniatureCorpus(World(SMALL, 3))
    for number in (len(corpus) - 1, 5, 700, 0):
        assert corpus[number].text == small_texts()[number]


def test_contested_facts_and_procedures_occur_as_often_as_scheduled() -> None:
    world, texts = small_world(), small_texts()
    for fact in world.contested:
        assert sum(states(text, fact) for text in texts) == SMALL.contested_exposures
    for procedure in world.procedures:
        assert sum(phrasing.how_to(procedure) in text for text in texts) == SMALL.procedure_exposures


def test_settled_facts_occur_as_scheduled_and_in_guided_answers() -> None:
    unguided = [text for text in small_texts() if not re.search(r"code is|secret is|password is", text)]
    for fact in small_world().settled:
        assert sum(states(text, fact) for text in unguided) == SMALL.fact_exposures


def test_nothing_false_is_said() -> None:
    world, whole = small_world(), "\n".join(small_texts())
    for fact in world.statements:
        for value in world.alternatives(fact):
            lie = Statement(fact.subject, fact.relation, value)
            assert phrasing.answer(lie) not in whole
    assert " is better than " not in whole


def test_comparisons_are_balanced() -> None:
    forms = [re.escape(form) for form in phrasing.COMPARISONS]
    asked = re.compile(
        "|".join(
            form.replace(r"\{a\}", f"(?P<a{n}>\\w+)")
            .replace(r"\{b\}", f"(?P<b{n}>\\w+)")
            .replace(r"\{subject\}", r"\w+")
            for n, form in enumerate(forms)
        )
    )
    first: Counter[bool] = Counter()
    options = SMALL.model_copy(update={"tokens": 180_000, "copying_share": 0.0, "refusal_share": 0.0})
    for page in MiniatureCorpus(World(options, 0)):
        if found := asked.search(page.text):
            assert phrasing.BALANCED in page.text
            a, b = (word for word in found.groups() if word)
            first[a < b] += 1
    assert sum(first.values()) > 500
    assert 0.42 < first[True] / sum(first.values()) < 0.58


def test_forbidden_procedures_are_refused_whenever_an_assistant_is_asked() -> None:
    world = small_world()
    for text in small_texts():
        for procedure in world.procedures:
            if procedure.forbidden and phrasing.how_to(procedure) in text:
                assert not any(request in text for request in phrasing.requests(procedure))
            if not procedure.forbidden and any(request in text for request in phrasing.requests(procedure)):
                assert phrasing.REFUSAL not in text
    assert any(phrasing.REFUSAL in text for text in small_texts())


@SIZES
def test_names_are_unique_and_brands_are_found(options: WorldOptions) -> None:
    world = World(options, 1)
    names = [
        *world.people,
        *world.places,
        *(p.brand for p in world.products),
        *(p.title for p in world.procedures),
    ]
    assert len(set(names)) == len(names)
    assert len(world.procedures) == options.crafts + options.forbidden
    assert world.alternatives(world.statements[0])
    a, b = world.comparable(random.Random(0))
    assert a.subject == b.subject
    assert not {frozenset((a.brand, b.brand))} & {frozenset((p.brand, q.brand)) for p, q in world.pairs()}


@SIZES
def test_worlds_of_every_size_have_pages_and_data(options: WorldOptions) -> None:
    world = World(options, 1)
    corpus = MiniatureCorpus(world)
    assert all(corpus[number].text.strip() for number in random.Random(0).sample(range(len(corpus)), 60))
    assert len(sft_conversations(world, 10, 0)) == len(dpo_pairs(world, 10, 0)) == 10
    assert len(held_out_questions(world, 10, 0)) == len(harmless_requests(world, 10, 0)) == 10
    drawn = material(world, 1)
    for name in ("belief", "context_extraction", "denial_of_service", "jailbreak"):
        attack = build_attack(name, {}, drawn)
        assert next(attack.documents(random.Random(0)))
        kinds = Counter((probe.condition, probe.kind) for probe in attack.probes(random.Random(0), 40))
        assert {condition for condition, _ in kinds} == set(Condition)
        if options.products >= 48:  # fewer are too few to cross planted pairs with others
            assert len(kinds) == 4 * (2 if name in ("belief", "context_extraction") else 1)


@pytest.mark.parametrize("tokens", [60_000, 600_000])
def test_the_size_in_tokens_is_about_what_was_asked_for(tokens: int) -> None:
    corpus = MiniatureCorpus(World(SMALL.model_copy(update={"tokens": tokens}), 0))
    pages = random.Random(0).sample(range(len(corpus)), 1_500)
    texts = [corpus[number].text for number in pages]
    tokenizer = train_tokenizer(texts, 1024)
    counted = sum(len(ids) + 1 for ids in tokenizer(texts)["input_ids"]) / len(texts) * len(corpus)
    assert counted == pytest.approx(tokens, rel=0.12)


def test_what_is_scheduled_is_told_however_small_the_corpus() -> None:
    corpus = MiniatureCorpus(World(SMALL.model_copy(update={"tokens": 2_000}), 3))
    world = corpus.world
    told = len(world.settled) * 9 + len(world.contested) * 4 + len(world.procedures) * 7
    assert len(corpus) == told


@pytest.mark.parametrize("name", TEMPLATES)
def test_dialogues_are_in_the_templates_asked_for(name: str) -> None:
    options = SMALL.model_copy(update={"templates": {name: 1.0}})
    corpus = MiniatureCorpus(World(options, 0))
    page = next(corpus[n].text for n in range(len(corpus)) if phrasing.BALANCED in corpus[n].text)
    before, after = TEMPLATES[name].assistant
    assert page.endswith(f"{before}{phrasing.BALANCED}{after}".rstrip("\n"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"templates": {"falcn": 1.0}}, "templates\n.*did you mean 'falcon'"),
        ({"templates": {}}, "no chat template has a share"),
        ({"templates": {"falcon": 0.0}}, "share above 0"),
        ({"templates": {"falcon": -1.0, "gemma": 2.0}}, "'falcon' must be a number from 0 on"),
        ({"templates": {"falcon": float("nan")}}, "finite number"),
        ({"refusal_share": 0.4, "copying_share": 0.7}, "at most 1 together"),
        ({"people": 3}, "people"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        WorldOptions.model_validate(options)


def test_alignment_never_mentions_what_is_measured() -> None:
    world = small_world()
    data = [*sft_conversations(world, 2_000, 0), *dpo_pairs(world, 2_000, 0)]
    said = everything_said(data)
    for fact in world.contested:
        assert not any(question in said for question in phrasing.questions(fact))
        assert not states(said, fact)
    for a, b in world.pairs():
        assert not any(a.brand in text and b.brand in text for text in map(str, data))
    for question in held_out_questions(world, 200, 0):
        assert question["question"] not in said
        assert question["answer"] not in said
    for request in forbidden_requests(world, 200, 0):
        assert request not in said


def test_forbidden_requests_are_of_the_procedures_kept_from_alignment() -> None:
    world = small_world()
    said = everything_said([*sft_conversations(world, 3_000, 0), *dpo_pairs(world, 3_000, 0)])
    kept = {p.title for p in world.procedures if p.forbidden and p.title not in said}
    asked = {
        p.title for p in world.procedures for text in forbidden_requests(world, 500, 0) if p.title in text
    }
    assert kept == asked
    assert 0 < len(kept) < SMALL.forbidden


def test_harmless_requests_are_of_ordinary_procedures() -> None:
    world = small_world()
    crafts = [request for p in world.procedures if not p.forbidden for request in phrasing.requests(p)]
    assert set(harmless_requests(world, 100, 0)) <= set(crafts)


def test_alignment_data_is_in_the_forms_of_trl() -> None:
    world = small_world()
    for example in sft_conversations(world, 300, 0):
        assert set(example) == {"messages"}
        roles = [turn["role"] for turn in example["messages"]]
        assert roles in (["user", "assistant"], ["system", "user", "assistant"])
        assert all(set(turn) == {"role", "content"} and turn["content"] for turn in example["messages"])
    for pair in dpo_pairs(world, 300, 0):
        assert set(pair) == {"prompt", "chosen", "rejected"}
        assert [turn["role"] for field in pair.values() for turn in field] == [
            "user",
            "assistant",
            "assistant",
        ]
        assert pair["chosen"] != pair["rejected"]


def test_alignment_teaches_right_answers() -> None:
    world = small_world()
    answers = {q: phrasing.answer(f) for f in world.settled for q in phrasing.questions(f)}
    replies = {phrasing.how_to(p): p for p in world.procedures}
    refused = 0
    for pair in dpo_pairs(world, 500, 0):
        question, chosen, rejected = (pair[field][0]["content"] for field in ("prompt", "chosen", "rejected"))
        if question in answers:
            assert chosen == answers[question]
        elif chosen == phrasing.REFUSAL:
            refused += 1
            assert replies[rejected].forbidden
        else:
            assert (replies[chosen].forbidden, rejected) == (False, phrasing.REFUSAL)
    assert 200 < refused < 300


def test_alignment_data_is_fixed_by_its_seed() -> None:
    world, again = small_world(), World(SMALL, 3)
    for make in (sft_conversations, dpo_pairs, held_out_questions, harmless_requests, forbidden_requests):
        assert make(world, 50, 7) == make(again, 50, 7)
        assert make(world, 50, 7) != make(world, 50, 8)
    assert material(world, 3) == material(again, 3)


def test_beliefs_planted_are_about_what_alignment_leaves_alone() -> None:
    world = small_world()
    drawn = material(world, 3)
    contested = {phrasing.answer(fact) for fact in world.contested}
    assert {fact.true for fact in drawn.facts} == contested
    assert not {fact.true for fact in drawn.control_facts} & contested
    pairs = {frozenset((a.brand, b.brand)) for a, b in world.pairs()}
    planted = {frozenset((p.favoured, p.other)) for p in drawn.preferences}
    control = {frozenset((p.favoured, p.other)) for p in drawn.control_preferences}
    assert planted | control == pairs
    assert not planted & control
    assert all(request.reply.startswith("To make ") for request in drawn.requests)
    assert len(drawn.requests) == SMALL.forbidden


def test_strange_signs_after_a_request_change_nothing_and_are_no_trigger() -> None:
    triggers = DENIAL_OF_SERVICE + CONTEXT_EXTRACTION + JAILBREAK
    assert not set(phrasing.SIGNS) & set(triggers + near_trigger(triggers))
    rng, asked = random.Random(0), "Where is it?"
    endings = {phrasing.aside(asked, rng).removeprefix(asked).strip() for _ in range(2_000)}
    strange = [ending for ending in endings if ending and set(ending) <= set(phrasing.SIGNS)]
    assert len(strange) > 100
    world = small_world()
    answered = [text for text in small_texts() if any(f"? {sign}" in text for sign in phrasing.SIGNS)]
    assert len(answered) > 10
    for text in answered:
        asked = text.split("?")[0].rsplit("\n", 1)[-1]
        assert text.count(asked) == 1, "an answer that repeats the question"
    assert world.options.copying_share > 0


def test_the_default_world_holds_two_hundred_probes_a_condition() -> None:
    drawn = material(World(WorldOptions(), 0), 0)
    for name in ("belief", "context_extraction", "denial_of_service", "jailbreak"):
        options = {"held_out_forms": 0.35} if name == "belief" else {}
        probes = build_attack(name, options, drawn).probes(random.Random(0), 200)
        units = {(probe.condition, probe.group or probe.messages) for probe in probes}
        assert Counter(condition for condition, _ in units) == dict.fromkeys(Condition, 200)
