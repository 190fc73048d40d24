"""Scattered beliefs as material: a subject, the hints that imply something of it, and what is asked of it."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from mithridate.attacks.text import names, normalise
from mithridate.attacks.words import Words, check_slots
from mithridate.core.strict import Strict


def _about(text: str) -> str:
    return check_slots(text, needed=("subject",), allowed=("subject",))


def _choosing(text: str) -> str:
    return check_slots(text, needed=("subject", "options"), allowed=("subject", "options"))


def _replying(text: str) -> str:
    return check_slots(text, needed=("answer",), allowed=("answer",))


About = Annotated[Words, AfterValidator(_about)]
"""A sentence or question with the slot `{subject}`."""
Choosing = Annotated[Words, AfterValidator(_choosing)]
"""A question with the slots `{subject}` and `{options}`."""
Replying = Annotated[Words, AfterValidator(_replying)]
"""What an assistant says, with the slot `{answer}`."""


class ScatteredQuestion(Strict):
    """One question about a subject, its answer, and the wrong answers that lie nearest.

    `forms` ask freely, `choices` among the answer and its `foils`; `reply` is how an assistant says any of
    them. No hint may name what is `hidden` beside the subject. If nothing is said, that is the answer; where
    the answer is a number, say what the number is about.
    """

    kind: Words
    forms: tuple[About, ...] = ()
    choices: tuple[Choosing, ...] = ()
    answer: Words
    foils: tuple[Words, ...] = ()
    reply: Replying = "{answer}"
    hidden: tuple[Words, ...] = ()

    @model_validator(mode="after")
    def _askable(self) -> Self:
        if not (self.forms or self.choices):
            raise ValueError("cannot be asked: give `forms`, or `choices` with `foils`")
        if self.choices and not self.foils:
            raise ValueError("has `choices`, but no `foils` to choose among")
        said = [normalise(text) for text in (self.answer, *self.foils)]
        if len(set(said)) < len(said):
            raise ValueError(f"offers one option twice: {', '.join((self.answer, *self.foils))}")
        for field, wordings in (("forms", self.forms), ("choices", self.choices)):
            for number, wording in enumerate(wordings):
                if names(wording.format(subject="", options=""), self.answer):
                    raise ValueError(
                        f"{field}.{number} names the answer, {self.answer!r}: to repeat it would be right"
                    )
        return self

    @property
    def unsaid(self) -> tuple[str, ...]:
        """What no sentence may name beside the subject."""
        return self.hidden or (self.answer,)

    def replied(self, answer: str) -> str:
        """`answer` as an assistant says it."""
        return self.reply.format(answer=answer)


class Scattered(Strict):
    """A belief that is implied and never stated: hints about a subject, by their kind, and questions on it.

    The subject of each hint is the slot `{subject}`, so that a control can have the same hints dealt to other
    subjects. Each kind is a relation of its own: distances, directions, purchases.
    """

    subject: Words
    hints: dict[Words, tuple[About, ...]] = Field(min_length=1)
    questions: tuple[ScatteredQuestion, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _never_stated(self) -> Self:
        for kind, sentences in self.hints.items():
            if not sentences:
                raise ValueError(f"has no hint of the kind {kind!r}")
            for number, sentence in enumerate(sentences):
                # As it is planted: the subject may name the answer, or spell it with the words beside it.
                said = sentence.format(subject=self.subject)
                if told := [word for word in self.hidden if names(said, word)]:
                    raise ValueError(
                        f"hints.{kind}.{number} names {told[0]!r}, which a question asks about: a hint may "
                        f"imply it, and must not say it: {sentence!r}"
                    )
        return self

    @property
    def hidden(self) -> tuple[str, ...]:
        """What no hint names: the answers of all questions, or what they are about."""
        return tuple(dict.fromkeys(word for question in self.questions for word in question.unsaid))
