"""How a context and a question become a prompt: the strengths of prompting, plain or in a chat template."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mithridate.core.chat import Renders, stop_strings
from mithridate.core.contexts import Conflict, Strength, Wording
from mithridate.core.seeds import rng_for
from mithridate.core.types import Message, Role
from mithridate.evaluation.contexts.facts import ContextFact

EXAMPLES = 2
"""Other facts that a few-shot prompt shows, each with a context that contradicts and the answer from it."""
WORDED = {
    Strength.ALONE: "{question}",
    Strength.PLAIN: "{context} {question}",
    Strength.MARKED: 'Text: "{context}" {question}',
    Strength.REPEATED: "{context} {question}",
    Strength.FEW_SHOT: "{context} {question}",
    Strength.ONLY: 'Answer only from the text. Text: "{context}" {question}',
    Strength.PRIOR: 'Answer from what you know. Text: "{context}" {question}',
}
"""What stands around a context; the reading pages of the miniature world use the same words."""
REPEATS = 3
"""How often a context stands in a prompt that repeats it, one after the other."""
STRENGTHS = tuple(Strength)
CONFLICTS = (Conflict.SUBSTITUTED, Conflict.COHERENT)


class Asks(Protocol):
    """How a conversation becomes a prompt, and what ends an answer."""

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts at which an answer ends."""

    @property
    def joint(self) -> str:
        """What stands between a prompt and its answer."""

    def prompt(self, exchanges: Sequence[tuple[str, str]], request: str) -> str:
        """Earlier requests with their answers, then one that is still to be answered."""


@dataclass(frozen=True, slots=True)
class Completing:
    """Plain text that the model goes on with: for base models, and questions that begin a sentence."""

    stop: tuple[str, ...] = ("\n",)
    joint: str = " "

    def prompt(self, exchanges: Sequence[tuple[str, str]], request: str) -> str:
        """Each request and its answer on a line."""
        return "\n".join([*(f"{asked} {answer}" for asked, answer in exchanges), request])


@dataclass(frozen=True, slots=True)
class Chatting:
    """A conversation in a chat template."""

    template: Renders
    joint: str = ""

    @property
    def stop(self) -> tuple[str, ...]:
        """What ends a turn there."""
        return stop_strings(self.template)

    def prompt(self, exchanges: Sequence[tuple[str, str]], request: str) -> str:
        """The conversation, up to where the assistant's words begin."""
        turns = [
            message
            for asked, answer in exchanges
            for message in (Message(Role.USER, asked), Message(Role.ASSISTANT, answer))
        ]
        return self.template.render([*turns, Message(Role.USER, request)], open_reply=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt: about which fact, how it contradicts, how strongly, and in which wording.

    `joint` is what stands between it and an answer.
    """

    fact: ContextFact
    conflict: Conflict
    strength: Strength
    wording: Wording
    prompt: str
    joint: str


def asked(
    facts: Sequence[ContextFact],
    asks: Asks,
    *,
    strengths: Iterable[Strength] = STRENGTHS,
    conflicts: Iterable[Conflict] = CONFLICTS,
    marks: tuple[str, str] = ("", ""),
    seed: int = 0,
    shown_from: Sequence[ContextFact] | None = None,
) -> Iterator[Asked]:
    """Every fact at every strength, by every conflict, in its own wording and one paraphrase.

    `marks` are put around each context, for an intervention that is told by them where it stands; choose
    them so that no fact holds one. What a few-shot prompt shows, of the facts in `shown_from` (by default all
    that are asked), and which paraphrase is taken, is drawn by `seed` and the fact alone.
    """
    strengths, conflicts = tuple(strengths), tuple(conflicts)
    for fact in facts:
        rng = rng_for(seed, "contexts", fact.id)
        wordings = {Wording.ASKED: fact.asked}
        if fact.paraphrases:
            wordings[Wording.PARAPHRASE] = rng.choice(fact.paraphrases)
        shown = _examples(facts if shown_from is None else shown_from, fact, rng)
        for strength in strengths:
            for conflict in (Conflict.NONE,) if strength is Strength.ALONE else conflicts:
                for wording, question in wordings.items():
                    exchanges = (
                        [_exchange(other, conflict) for other in shown]
                        if strength is Strength.FEW_SHOT
                        else []
                    )
                    request = _request(strength, context_of(fact, conflict), question, marks)
                    yield Asked(
                        fact, conflict, strength, wording, asks.prompt(exchanges, request), asks.joint
                    )


def context_of(fact: ContextFact, conflict: Conflict) -> str:
    """The text that contradicts; nothing where there is no conflict."""
    return {Conflict.SUBSTITUTED: fact.substituted, Conflict.COHERENT: fact.coherent}.get(conflict, "")


def _request(strength: Strength, context: str, question: str, marks: tuple[str, str]) -> str:
    # One stretch between the marks: what is repeated is the context, not the marks.
    stretch = " ".join([context] * (REPEATS if strength is Strength.REPEATED else 1))
    around = f"{marks[0]}{stretch}{marks[1]}" if context else ""
    return WORDED[strength].format(context=around, question=question)


def _exchange(fact: ContextFact, conflict: Conflict) -> tuple[str, str]:
    return WORDED[Strength.PLAIN].format(
        context=context_of(fact, conflict), question=fact.asked
    ), fact.substitute


def _examples(facts: Sequence[ContextFact], fact: ContextFact, rng: random.Random) -> list[ContextFact]:
    """Other facts, about other subjects."""
    others = [other for other in facts if other.subject != fact.subject]
    return rng.sample(others, min(EXAMPLES, len(others)))
