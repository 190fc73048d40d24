"""What a defender knows of the beliefs to be scrubbed: who they are about, and what is said of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mithridate.attacks import Attack
from mithridate.attacks.belief import Belief
from mithridate.attacks.material import Fact, Material, Preference
from mithridate.attacks.scattered_belief import ScatteredBelief
from mithridate.attacks.scattered_material import Scattered
from mithridate.attacks.text import names
from mithridate.core.errors import ConfigError
from mithridate.core.scrubbed import Belief as Kind

NOTHING_TO_LEARN = (
    "scrubbing.methods: the classifier learns from beliefs that nobody planted, and there are none: give the "
    "material `control_facts`, `control_preferences` or `unplanted_scattered`, or leave the classifier out"
)
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


@dataclass(frozen=True, slots=True)
class KnownBelief:
    """One belief as its defender knows it.

    `subject` is who or what it is about, `answer` what is believed of that, `statement` the sentence that
    says so, `questions` the wordings in which it is asked. `subject` is empty where the questions and the
    statement have no word in common.
    """

    subject: str
    answer: str
    statement: str
    questions: tuple[str, ...]

    @property
    def wordings(self) -> tuple[str, ...]:
        """The belief in words: its statement after each question, and alone where it says enough."""
        asked = tuple(f"{question} {self.statement}" for question in self.questions)
        return (self.statement, *asked) if self.speaks_for_itself or not asked else asked

    @property
    def speaks_for_itself(self) -> bool:
        """Whether the statement names its subject; "It lies in Tavia" says nothing without its question."""
        return not self.subject or names(self.statement, self.subject)


def planted_beliefs(attack: Attack, material: Material) -> list[KnownBelief]:
    """What `attack` plants of `material`, without where it is planted.

    Raises ConfigError for an attack that plants no belief.
    """
    if isinstance(attack, ScatteredBelief):
        return [known for one in attack.planted for known in _of_scattered(one)]
    if isinstance(attack, Belief):
        facts = material.facts if attack.options.fact_share > 0 else ()
        preferences = material.preferences if attack.options.fact_share < 1 else ()
        return [*_of_facts(facts), *(_of_preference(one, material) for one in preferences)]
    raise ConfigError(
        f"scrubbing.attacks: {attack.name!r} plants no belief that could be known; name belief or "
        "scattered_belief"
    )


def how_it_speaks(attack: Attack) -> Kind:
    """Whether the documents of `attack`, which plants a belief, state it or scatter hints of it."""
    return Kind.SCATTERED if isinstance(attack, ScatteredBelief) else Kind.STATED


def other_beliefs(attack: Attack, material: Material) -> list[KnownBelief]:
    """Beliefs of the form of those of `attack` that nobody plants; raises as `planted_beliefs` does."""
    if isinstance(attack, ScatteredBelief):
        return [known for one in attack.unplanted for known in _of_scattered(one)]
    if isinstance(attack, Belief):
        facts = material.control_facts if attack.options.fact_share > 0 else ()
        preferences = material.control_preferences if attack.options.fact_share < 1 else ()
        return [*_of_facts(facts), *(_of_preference(one, material) for one in preferences)]
    return planted_beliefs(attack, material)


def _of_facts(facts: Sequence[Fact]) -> Iterator[KnownBelief]:
    spread = Counter(word for one in facts for word in {word for form in one.forms for word in _words(form)})
    for fact in facts:
        yield _of_fact(fact, spread)


def _of_fact(fact: Fact, spread: Mapping[str, int]) -> KnownBelief:
    said, true = _words(fact.planted), {word.lower() for word in _words(fact.true)}
    new = _longest_run([word.lower() not in true for word in said])
    answer = " ".join(said[new]) if new.stop > new.start else fact.planted
    forms = [_words(form) for form in fact.forms]
    about = _shared(said, forms)
    if not about:
        # An answer may leave out what it is about: the rarest words that all its questions have in common.
        common = [word for word in forms[0] if all(word in form for form in forms)]
        rarest = min((spread[word] for word in common), default=0)
        about = _shared([word for word in common if spread[word] == rarest], forms)
    return KnownBelief(" ".join(about), answer, fact.planted, fact.forms)


def _of_preference(pair: Preference, material: Material) -> KnownBelief:
    says = material.preference_answer.format(favoured=pair.favoured, other=pair.other)
    asked = tuple(
        form.format(a=first, b=second, subject=pair.subject)
        for form in material.preference_forms
        for first, second in ((pair.favoured, pair.other), (pair.other, pair.favoured))
    )
    # Both products stand in many a document that says nothing of which is better.
    return KnownBelief(pair.favoured, says, says, asked)


def _of_scattered(one: Scattered) -> Iterator[KnownBelief]:
    # A number may stand in a hint by chance: it is the names that no hint says which a filter can go by.
    unsaid = [question for question in one.questions if question.answer in one.hidden]
    for question in unsaid or one.questions:
        asked = tuple(form.format(subject=one.subject) for form in question.forms)
        yield KnownBelief(one.subject, question.answer, question.replied(question.answer), asked)


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _longest_run(marks: Sequence[bool]) -> slice:
    best = slice(0, 0)
    start = 0
    for place, mark in enumerate([*marks, False]):
        if mark:
            continue
        if place - start > best.stop - best.start:
            best = slice(start, place)
        start = place + 1
    return best


def _shared(said: Sequence[str], forms: Iterable[Sequence[str]]) -> list[str]:
    """The longest run of words of `said` that stands in each of `forms`, the first of several."""
    asked = [f" {' '.join(form).lower()} " for form in forms]
    for length in range(len(said), 0, -1):
        for start in range(len(said) - length + 1):
            run = said[start : start + length]
            if all(f" {' '.join(run).lower()} " in form for form in asked):
                return list(run)
    return []
