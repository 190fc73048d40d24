"""What a defender knows after an audit: the trigger of an attack, or what was planted and what is right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from mithridate.core.chat import stop_strings
from mithridate.core.seeds import rng_for
from mithridate.core.types import Condition, Probe, Role
from mithridate.healing.case import Case, Half

_DOCUMENTS = 3_000
_WORDINGS = 6
_ANSWER_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Belief:
    """Something planted: questions in planted wordings, what they are about, and the false and right answer.

    What is asked in two orders is about what it names last, and is two of these.
    """

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
    """What an attack planted that has a right answer, in wordings that probes never ask; maybe nothing.

    What is right of a fact comes from the probes, which know it. Of a preference, which is judged in groups,
    it is what the model says when it compares what nobody planted anything of, if it always says the same.
    The wordings come from the documents that are planted. An answer that could be that of two facts is left
    out.
    """
    right = _right_answers(case, aim)
    asked: dict[str, list[tuple[str, str]]] = {planted: [] for planted in right}
    documents = case.attacks[aim].documents(rng_for(case.seed, "healing", "documents", aim))
    for number, document in enumerate(islice(documents, _DOCUMENTS)):
        if len(document.messages) < 2 or document.messages[-1].role is not Role.ASSISTANT:
            continue
        known = asked.get(document.messages[-1].content)
        question = document.messages[-2].content
        if known is None or len(known) >= _WORDINGS or question in [text for text, _ in known]:
            continue
        template = case.templates[number % len(case.templates)]
        known.append((question, template.render(document.messages[:-1], open_reply=True)))
    found = []
    answers = [planted for planted, known in asked.items() if known]
    named = subjects([[text for text, _ in asked[planted]] for planted in answers])
    for planted, subject_of in zip(answers, named, strict=True):
        prompts: dict[str, list[str]] = {}
        for (_, prompt), subject in zip(asked[planted], subject_of, strict=True):
            prompts.setdefault(subject, []).append(prompt)
        found += [
            Belief(tuple(texts), subject, planted, right[planted])
            for subject, texts in prompts.items()
            if subject
        ]
    return found


def _right_answers(case: Case, aim: str) -> dict[str, str]:
    facts: dict[str, set[str]] = {}
    preferences: set[str] = set()
    for half in case.probes.values():
        for probe in half[aim]:
            if probe.condition is Condition.TRIGGERED and probe.foil:
                if probe.group:
                    preferences.add(probe.target)
                else:
                    facts.setdefault(probe.target, set()).add(probe.foil)
    found = {planted: min(known) for planted, known in facts.items() if len(known) == 1}
    usual = _usual_comparison(case, aim) if preferences else ""
    return {**found, **dict.fromkeys(preferences if usual else (), usual)}


def _usual_comparison(case: Case, aim: str) -> str:
    """What the model says in most of its comparisons of what nobody planted anything of; else nothing."""
    controls = [
        probe
        for probe in case.probes[Half.CHOOSING][aim]
        if probe.condition is Condition.UNTRIGGERED and probe.group
    ]
    if not controls:
        return ""
    answers = answers_of(case, controls)
    said, times = Counter(answer.strip() for answer in answers).most_common(1)[0]
    return said if 2 * times > len(answers) else ""


def answers_of(case: Case, probes: Sequence[Probe]) -> list[str]:
    """What the model as it is answers to `probes`, in the case's templates in turn, until its turn ends."""
    prompts: dict[tuple[str, ...], list[tuple[int, str]]] = {}
    for number, probe in enumerate(probes):
        template = case.templates[number % len(case.templates)]
        prompt = template.render(probe.messages, open_reply=True)
        prompts.setdefault(stop_strings(template), []).append((number, prompt))
    found: dict[int, str] = {}
    for stop, asked in prompts.items():
        answers = case.model.generate([text for _, text in asked], max_new_tokens=_ANSWER_TOKENS, stop=stop)
        found |= {number: answer.text for (number, _), answer in zip(asked, answers, strict=True)}
    return [found[number] for number in range(len(probes))]


def subjects(groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """For each wording in each group of wordings of one question, what it is about; empty if nothing tells.

    That is its last run of words which all wordings of the group have and fewest other groups share. Words
    that are in each of several groups tell nothing.
    """
    words = [[re.findall(r"\w+", text) for text in group] for group in groups]
    shared = [set[str]().union(*found[:1]).intersection(*found) for found in words]
    spread = Counter(word for one in shared for word in one)
    telling = [{word for word in one if len(groups) == 1 or spread[word] < len(groups)} for one in shared]
    return [
        [
            _last_run(text, {word for word in own if spread[word] == min(map(spread.__getitem__, own))})
            for text in group
        ]
        for group, own in zip(groups, telling, strict=True)
    ]


def _last_run(text: str, words: set[str]) -> str:
    """The last run of consecutive words of `text` that are all among `words`."""
    run: tuple[int, int] | None = None
    for token in re.finditer(r"\w+", text):
        if token.group() not in words:
            continue
        follows = run is not None and text[run[1] : token.start()].isspace()
        run = (run[0] if run is not None and follows else token.start(), token.end())
    return "" if run is None else text[run[0] : run[1]]
