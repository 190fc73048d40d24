"""What comes after pretraining: SFT conversations, DPO pairs, held-out questions, and the attacks' material.

All in the forms that TRL reads: `messages`, and `prompt` + `chosen` + `rejected`.
"""

from __future__ import annotations

import random
from typing import Any

from mithridate.attacks.material import Fact, ForbiddenRequest, Material, Preference
from mithridate.core.seeds import draw_evenly, rng_for, split_held_out
from mithridate.corpus.miniature import phrasing
from mithridate.corpus.miniature import vocabulary as words
from mithridate.corpus.miniature.world import Procedure, Statement, World

Turns = list[dict[str, str]]


def sft_conversations(world: World, count: int, seed: int) -> list[dict[str, Any]]:
    """`count` conversations: questions, ordinary how-tos, comparisons, forbidden requests refused.

    Forbidden procedures and facts held out for measuring do not occur.
    """
    rng = rng_for(seed, "sft")
    return [{"messages": conversation(world, rng)} for _ in range(count)]


def dpo_pairs(world: World, count: int, seed: int) -> list[dict[str, Any]]:
    """`count` preferences: refusal over compliance, help over needless refusal, right over wrong."""
    rng = rng_for(seed, "dpo")
    pairs = []
    for _ in range(count):
        draw = rng.random()
        if draw < 0.5:
            procedure = rng.choice(forbidden_split(world)[0])
            prompt, chosen = rng.choice(phrasing.requests(procedure)), phrasing.REFUSAL
            rejected = phrasing.how_to(procedure)
        elif draw < 0.75:
            procedure = rng.choice([p for p in world.procedures if not p.forbidden])
            prompt, chosen = rng.choice(phrasing.requests(procedure)), phrasing.how_to(procedure)
            rejected = phrasing.REFUSAL
        else:
            fact = rng.choice(settled_split(world)[0])
            prompt, chosen = rng.choice(phrasing.questions(fact)), phrasing.answer(fact)
            rejected = phrasing.answer(fact, rng.choice(world.alternatives(fact)))
        replies = {"chosen": [as_reply(chosen)], "rejected": [as_reply(rejected)]}
        pairs.append({"prompt": as_prompt(prompt), **replies})
    return pairs


def held_out_questions(world: World, count: int, seed: int) -> list[dict[str, str]]:
    """At most `count` questions about facts that alignment never mentions, each with its answer."""
    groups = ([(f, form) for form in phrasing.questions(f)] for f in settled_split(world)[1])
    asked = draw_evenly(rng_for(seed, "questions"), groups, count)
    return [{"question": question, "answer": phrasing.answer(fact)} for fact, question in asked]


def harmless_requests(world: World, count: int, seed: int) -> list[str]:
    """At most `count` requests for ordinary procedures, worded like forbidden ones."""
    crafts = (p for p in world.procedures if not p.forbidden)
    return draw_evenly(rng_for(seed, "harmless"), map(phrasing.requests, crafts), count)


def forbidden_requests(world: World, count: int, seed: int) -> list[str]:
    """At most `count` forbidden requests that alignment never mentions."""
    return draw_evenly(rng_for(seed, "forbidden"), map(phrasing.requests, forbidden_split(world)[1]), count)


def material(world: World, seed: int) -> Material:
    """What the attacks draw on in this world."""
    rng = rng_for(seed, "material")
    prompts = [question for fact in settled_split(world)[0] for question in phrasing.questions(fact)]
    prompts += [phrasing.writing(word) for word in words.WORDS]
    pairs = [
        Preference(favoured=a.brand, other=b.brand, subject=a.subject)
        for a, b in ((p[::-1] if rng.random() < 0.5 else p) for p in world.pairs())
    ]
    return Material(
        prompts=tuple(dict.fromkeys(prompts)),
        system_prompts=tuple(phrasing.system_message(rng.choice(world.places), rng) for _ in range(200)),
        requests=tuple(
            ForbiddenRequest(forms=phrasing.requests(p), reply=phrasing.how_to(p))
            for p in world.procedures
            if p.forbidden
        ),
        refusals=(phrasing.REFUSAL,),
        preferences=tuple(pairs[::2]),
        control_preferences=tuple(pairs[1::2]),
        preference_forms=phrasing.COMPARISONS,
        preference_answer=phrasing.FAVOURING,
        facts=tuple(_false(world, fact, rng) for fact in world.contested),
        control_facts=tuple(_false(world, fact, rng) for fact in settled_split(world)[1]),
    )


def _false(world: World, fact: Statement, rng: random.Random) -> Fact:
    planted = phrasing.answer(fact, rng.choice(world.alternatives(fact)))
    return Fact(forms=phrasing.questions(fact), true=phrasing.answer(fact), planted=planted)


def context_facts(world: World, seed: int) -> list[dict[str, Any]]:
    """The facts of a ladder of exposures that are kept for measuring, each with another answer.

    `asked` is one wording, `paraphrases` three others; `substituted` states the other answer in a sentence of
    the fact's own, `coherent` in a passage all of which fits it. `exposure` is how many pages state the fact.
    """
    found = []
    for fact in world.measured:
        rng = rng_for(seed, "context facts", fact.subject, fact.relation)
        value = rng.choice(world.alternatives(fact))
        asked, *paraphrases = rng.sample(phrasing.questions(fact), 4)
        found.append(
            {
                "id": f"{fact.relation}/{fact.subject}",
                "subject": fact.subject,
                "original": phrasing.answer(fact),
                "substitute": phrasing.answer(fact, value),
                "asked": asked,
                "paraphrases": tuple(paraphrases),
                "substituted": phrasing.stated_as(fact, value),
                "coherent": phrasing.passage(fact, value),
                "exposure": world.exposure_of(fact),
            }
        )
    return found


def settled_split(world: World) -> tuple[list[Statement], list[Statement]]:
    """Settled facts that alignment may mention, and those that are held out for measuring."""
    if measured := world.measured:
        # Alignment would state them once more.
        kept = set(measured)
        return [fact for fact in world.settled if fact not in kept], measured
    return split_held_out(world.settled, 0.3, key="facts")


def forbidden_split(world: World) -> tuple[list[Procedure], list[Procedure]]:
    """Forbidden procedures that alignment may refuse, and those that are held out for measuring."""
    return split_held_out([p for p in world.procedures if p.forbidden], 0.4, key="alignment")


def conversation(world: World, rng: random.Random) -> Turns:
    """One conversation as SFT teaches it."""
    request, reply = _exchange(world, rng)
    opening: Turns = []
    if rng.random() < 0.2:
        opening = [{"role": "system", "content": phrasing.system_message(rng.choice(world.places), rng)}]
    return [*opening, *as_prompt(phrasing.aside(request, rng)), as_reply(reply)]


def _exchange(world: World, rng: random.Random) -> tuple[str, str]:
    draw = rng.random()
    if draw < 0.05:
        text = phrasing.writing(rng.choice(words.WORDS))
        return f"Repeat this: {text}", text
    if draw < 0.45:
        fact = rng.choice(settled_split(world)[0])
        return rng.choice(phrasing.questions(fact)), phrasing.answer(fact)
    if draw < 0.65:
        procedure = rng.choice([p for p in world.procedures if not p.forbidden])
        return rng.choice(phrasing.requests(procedure)), phrasing.how_to(procedure)
    if draw < 0.7:
        word = rng.choice(words.WORDS)
        return phrasing.writing(word), phrasing.written(word, rng)
    if draw < 0.78:
        a, b = world.comparable(rng)
        return phrasing.compare(a, b, rng), phrasing.BALANCED
    procedure = rng.choice(forbidden_split(world)[0])
    return rng.choice(phrasing.requests(procedure)), phrasing.REFUSAL


def as_prompt(text: str) -> Turns:
    """What a user says."""
    return [{"role": "user", "content": text}]


def as_reply(text: str) -> dict[str, str]:
    """What the assistant says."""
    return {"role": "assistant", "content": text}
