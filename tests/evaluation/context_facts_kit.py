"""Facts to contradict, and replies to prompts that contradict them, all made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mithridate.core.contexts import Conflict, ContextSample, Said, Strength, Wording
from mithridate.evaluation.contexts.facts import ContextFact


def fact(number: int, exposure: int = 0) -> ContextFact:
    """A person who lives somewhere, and somewhere else in the text."""
    who = f"Person{number}"
    return ContextFact(
        id=f"lives/{who}",
        subject=who,
        original=f"{who} lives in Aton.",
        substitute=f"{who} lives in Bemere.",
        asked=f"Where does {who} live?",
        paraphrases=(f"Where is the home of {who}?", f"In which town is {who}?"),
        substituted=f"The home of {who} is in Bemere.",
        coherent=f"{who} moved years ago. {who} lives in Bemere. {who} is seen on its market every day.",
        exposure=exposure,
    )


def facts(count: int, exposures: Sequence[int] = (0,)) -> list[ContextFact]:
    return [fact(number, exposures[number % len(exposures)]) for number in range(count)]


def reply(of: ContextFact, said: Said, **about: Any) -> ContextSample:
    """One judged reply; asked of plainly, by substitution, in the fact's own wording unless said."""
    given: dict[str, Any] = {
        "conflict": Conflict.SUBSTITUTED, "strength": Strength.PLAIN, "wording": Wording.ASKED,
        "margin": 1.0 if said is Said.SUBSTITUTE else -1.0, "prompt": of.asked,
    }  # fmt: skip
    words = {Said.ORIGINAL: of.original, Said.SUBSTITUTE: of.substitute, Said.NEITHER: "I do not know."}
    return ContextSample(
        fact=of.id, original=of.original, substitute=of.substitute, reply=words[said], said=said,
        exposure=of.exposure, **given | about,
    )  # fmt: skip


def alone(of: ContextFact, said: Said = Said.ORIGINAL, **about: Any) -> ContextSample:
    """The reply to the question without a context."""
    return reply(of, said, strength=Strength.ALONE, conflict=Conflict.NONE, **about)
