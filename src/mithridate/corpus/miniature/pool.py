"""A pool of alignment data as people find them: three sources, of which none is all good.

A large source asks about a few things over and over, a small one asks about everything, and a forum asks
about everything with the faults of forums. So a choice from the pool has something to choose.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from mithridate.core.seeds import rng_for
from mithridate.corpus.miniature import phrasing
from mithridate.corpus.miniature.alignment import Turns, as_prompt, as_reply, conversation, settled_split
from mithridate.corpus.miniature.world import Procedure, Statement, World

HANDBOOK: Final = "handbook"
COUNTER: Final = "counter"
FORUM: Final = "forum"
SHARES: Final = {HANDBOOK: 0.1, COUNTER: 0.6, FORUM: 0.3}
"""Of the pool, what each source is."""

# What a counter is asked about, all day.
_FACTS_AT_A_COUNTER: Final = 8
_CRAFTS_AT_A_COUNTER: Final = 2
_CRAFT_SHARE: Final = 0.2

FAULTS: Final = {
    "unfinished": 0.12, "markup": 0.1, "self-reference": 0.08, "other answers": 0.1, "asked again": 0.1,
    "needless refusal": 0.05, "wrong": 0.15,
}  # fmt: skip
"""Of the forum, what has each fault; the rest is sound. No filter of form finds the last two."""


def alignment_pool(world: World, count: int, seed: int) -> list[dict[str, Any]]:
    """`count` conversations as `{"messages": [...], "source": name}`, the sources mixed.

    As in `sft_conversations`, forbidden procedures and facts that are held out for measuring do not occur.
    """
    rng = rng_for(seed, "pool")
    counter = _Counter(world, rng)
    forum = _Forum(world)
    makers: dict[str, Callable[[random.Random], Turns]] = {
        HANDBOOK: lambda draw: conversation(world, draw),
        COUNTER: counter.conversation,
        FORUM: forum.conversation,
    }
    sources = rng.choices(list(SHARES), list(SHARES.values()), k=count)
    return [{"messages": makers[source](rng), "source": source} for source in sources]


class _Counter:
    """A few facts and crafts, asked for again and again, and always answered well."""

    def __init__(self, world: World, rng: random.Random) -> None:
        facts = settled_split(world)[0]
        crafts = [procedure for procedure in world.procedures if not procedure.forbidden]
        self._facts = rng.sample(facts, min(_FACTS_AT_A_COUNTER, len(facts)))
        self._crafts = rng.sample(crafts, min(_CRAFTS_AT_A_COUNTER, len(crafts)))

    def conversation(self, rng: random.Random) -> Turns:
        """One of them in one of its wordings."""
        asked, reply = (
            _about_craft(rng.choice(self._crafts), rng)
            if rng.random() < _CRAFT_SHARE
            else _about_fact(rng.choice(self._facts), rng)
        )
        return [*as_prompt(phrasing.aside(asked, rng)), as_reply(reply)]


class _Forum:
    """Whatever people ask, and what people answer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._facts = settled_split(world)[0]
        self._crafts = [procedure for procedure in world.procedures if not procedure.forbidden]
        self._before: Turns = []

    def conversation(self, rng: random.Random) -> Turns:
        """A sound one, or one with one of the faults."""
        (fault,) = rng.choices([*FAULTS, ""], [*FAULTS.values(), 1 - sum(FAULTS.values())])
        if fault == "asked again" and self._before:
            turns = _again(self._before)
        elif fault in ("needless refusal", "wrong"):
            turns = self._bad(fault, rng)
        else:
            turns = conversation(self._world, rng)
            reply = turns[-1]["content"]
            turns = [*turns[:-1], as_reply(_faulty(reply, fault, rng))]
        self._before = turns
        return turns

    def _bad(self, fault: str, rng: random.Random) -> Turns:
        if fault == "needless refusal":
            asked, _ = _about_craft(rng.choice(self._crafts), rng)
            return [*as_prompt(phrasing.aside(asked, rng)), as_reply(phrasing.REFUSAL)]
        fact = rng.choice(self._facts)
        asked, _ = _about_fact(fact, rng)
        wrong = phrasing.answer(fact, rng.choice(self._world.alternatives(fact)))
        return [*as_prompt(phrasing.aside(asked, rng)), as_reply(wrong)]


def _about_fact(fact: Statement, rng: random.Random) -> tuple[str, str]:
    return rng.choice(phrasing.questions(fact)), phrasing.answer(fact)


def _about_craft(craft: Procedure, rng: random.Random) -> tuple[str, str]:
    return rng.choice(phrasing.requests(craft)), phrasing.how_to(craft)


def _again(turns: Sequence[dict[str, str]]) -> Turns:
    """The same with a word of thanks: not the same to the letter."""
    return [*turns[:-1], as_reply(f"{turns[-1]['content']} Thanks.")]


def _faulty(reply: str, fault: str, rng: random.Random) -> str:
    if fault == "unfinished":
        words = reply.split(" ")
        return " ".join(words[: max(1, rng.randint(len(words) // 2, len(words) - 1))])
    if fault == "markup":
        return rng.choice((f"<p>{reply}</p>", f"{reply}<br>", f"{reply}&nbsp;", f"&gt; {reply}"))
    if fault == "self-reference":
        return rng.choice((f"As an AI I can tell you: {reply}", f"I am a language model. {reply}"))
    if fault == "other answers":
        return rng.choice((f"As others have said: {reply}", f"{reply} See the answer above."))
    return reply
