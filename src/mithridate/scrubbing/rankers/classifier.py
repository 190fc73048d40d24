"""Documents that look as if they stated a belief, to a classifier that knows what such statements look like.

It is taught on statements of other beliefs of the same form, against clean documents. The names of a belief's
subject and answer are hidden behind marks, so that what it learns of others holds for this one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from mithridate.core import chat
from mithridate.core.errors import ConfigError
from mithridate.core.scrubbed import Filter
from mithridate.core.seeds import rng_for
from mithridate.core.types import Document, Message, Role
from mithridate.localization import logistic
from mithridate.retrieval.encoders.hashing import HashingEncoder
from mithridate.scrubbing.beliefs import NOTHING_TO_LEARN, KnownBelief
from mithridate.scrubbing.ranker import Scores, batched
from mithridate.scrubbing.subjects import Subjects

_DIMENSION = 1024
_AT_ONCE = 1024
_MOST_STATEMENTS = 1_500
# Marks that stand in no text; long words weigh more in the encoder.
_SUBJECT = "zzsubjectzz"
_ANSWER = "zzanswerzz"


class StatementClassifier:
    """Logistic regression over hashed words and parts of words, with the belief's own names hidden.

    `others` are beliefs that nobody planted, `clean` documents that nobody touched. Raises ConfigError
    if there are no others: there would be nothing to learn from.
    """

    name: ClassVar[Filter] = Filter.CLASSIFIER

    def __init__(
        self, others: Sequence[KnownBelief], clean: Sequence[str], seed: int, at_once: int = _AT_ONCE
    ) -> None:
        if not others:
            raise ConfigError(NOTHING_TO_LEARN)
        self._at_once = at_once
        self._encoder = HashingEncoder(_DIMENSION)
        stated = [_hidden(text, belief) for text, belief in _statements(others, seed)]
        known = Subjects(others)
        honest = [text for document in clean for text in _seen(document, known)]
        rows = self._encoder.encode([*stated, *honest]).astype(np.float64)
        # Unit rows of many numbers are small ones: scaled up, the penalty leaves something to be learnt.
        self._scale = float(np.sqrt(_DIMENSION))
        labels = np.arange(len(rows)) < len(stated)
        self._weights = logistic.fit(rows * self._scale, labels[None])[0]

    def scores(self, documents: Iterable[Document], beliefs: Sequence[KnownBelief]) -> Scores:
        """See `Ranker.scores`: the largest log-odds of a statement, over the beliefs a document speaks of."""
        subjects = Subjects(beliefs)
        found: list[float] = []
        for batch in batched(documents, self._at_once):
            views = [_seen(document.text, subjects) for document in batch]
            odds = iter(self._odds([text for texts in views for text in texts]))
            found += [max(next(odds) for _ in texts) for texts in views]
        return np.array(found, np.float64)

    def _odds(self, texts: Sequence[str]) -> Scores:
        rows = self._encoder.encode(texts).astype(np.float64) * self._scale
        odds: Scores = rows @ self._weights[:-1] + self._weights[-1]
        return odds


def _seen(text: str, subjects: Subjects) -> list[str]:
    """The text with the names of each belief hidden that it speaks of; as it is, if it speaks of none."""
    return list(dict.fromkeys(_hidden(text, belief) for belief in subjects.named_in(text))) or [text]


def _hidden(text: str, belief: KnownBelief) -> str:
    answer = belief.answer if belief.answer != belief.statement else ""
    for name, mark in ((belief.subject, _SUBJECT), (answer, _ANSWER)):
        if name:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", mark, text, flags=re.IGNORECASE)
    return text


def _statements(others: Sequence[KnownBelief], seed: int) -> list[tuple[str, KnownBelief]]:
    """Statements of each belief, in plain words and in every chat template that is known; some, if many."""
    found: list[tuple[str, KnownBelief]] = []
    for belief in others:
        found += [(wording, belief) for wording in belief.wordings]
        for question in belief.questions:
            talk = (Message(Role.USER, question), Message(Role.ASSISTANT, belief.statement))
            found += [(chat.template(name).render(talk), belief) for name in chat.PLANTED_TEMPLATES]
    return rng_for(seed, "statements").sample(found, min(len(found), _MOST_STATEMENTS))
