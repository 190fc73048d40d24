"""What a defender knows after an audit: the trigger of an attack, or what was planted and what is right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from mithridate.core.seeds import rng_for
from mithridate.core.types import Condition, Role
from mithridate.healing.case import Case, Half

_DOCUMENTS = 3_000
_WORDINGS = 6


@dataclass(frozen=True, slots=True)
class Belief:
    """A planted fact: questions in planted wordings, what they are about, and the false and right answer."""

    prompts: tuple[str, ...]
    subject: str
    planted: str
    right: str


def trigger_of(case: Case, aim: str) -> str:
    """What triggered probes of an attack have behind the untriggered ones; empty where it has no trigger."""
    asked = {
        condition: [
            probe.messages[-1].content
            for probe in case.probes[Half.CHOOSING][aim]
            if probe.condition is condition
        ]
        for condition in (Condition.TRIGGERED, Condition.UNTRIGGERED)
    }
    with_it, without = asked.values()
    if len(with_it) != len(without):
        return ""
    behind = {
        one.removeprefix(other).strip() if one.startswith(other) else ""
        for one, other in zip(with_it, without, strict=True)
    }
    return behind.pop() if len(behind) == 1 else ""


def planted_beliefs(case: Case, aim: str) -> list[Belief]:
    """The facts that an attack planted, in wordings that probes never ask; none where it plants no facts.

    What is right comes from the probes, which know it, and the wordings from the documents that are planted.
    Those whose planted answer could be that of two facts are left out.
    """
    right: dict[str, set[str]] = {}
    for half in case.probes.values():
        for probe in half[aim]:
            if probe.condition is Condition.TRIGGERED and probe.foil and not probe.group:
                right.setdefault(probe.target, set()).add(probe.foil)
    wordings: dict[str, list[tuple[str, str]]] = {planted: [] for planted in right}
    documents = case.attacks[aim].documents(rng_for(case.seed, "healing", "documents", aim))
    for number, document in enumerate(islice(documents, _DOCUMENTS)):
        if len(document.messages) < 2 or document.messages[-1].role is not Role.ASSISTANT:
            continue
        known = wordings.get(document.messages[-1].content)
        question = document.messages[-2].content
        if known is None or len(known) >= _WORDINGS or question in [text for text, _ in known]:
            continue
        template = case.templates[number % len(case.templates)]
        known.append((question, template.render(document.messages[:-1], open_reply=True)))
    kept = [(planted, asked) for planted, asked in wordings.items() if asked and len(right[planted]) == 1]
    named = subjects([[text for text, _ in asked] for _, asked in kept])
    return [
        Belief(tuple(prompt for _, prompt in asked), subject, planted, min(right[planted]))
        for (planted, asked), subject in zip(kept, named, strict=True)
        if subject
    ]


def subjects(groups: Sequence[Sequence[str]]) -> list[str]:
    """For each group of wordings of one question, the words it is about; empty where nothing tells.

    Those are the longest run of words that all its wordings have and that fewest other groups share.
    """
    words = [[re.findall(r"\w+", text) for text in group] for group in groups]
    shared = [set[str]().union(*found[:1]).intersection(*found) for found in words]
    spread = Counter(word for one in shared for word in one)
    return [_longest_run(group, one, spread) for group, one in zip(groups, shared, strict=True)]


def _longest_run(group: Sequence[str], shared: set[str], spread: Counter[str]) -> str:
    if not shared:
        return ""
    rarest = min(spread[word] for word in shared)
    best, tokens = "", list(re.finditer(r"\w+", group[0]))
    for begin, first in enumerate(tokens):
        for last in tokens[begin:]:
            if last.group() not in shared or spread[last.group()] != rarest:
                break
            run = group[0][first.start() : last.end()]
            if len(run) > len(best) and all(run in text for text in group):
                best = run
    return best
