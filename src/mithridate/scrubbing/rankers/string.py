"""Documents that state a belief in so many words: its subject and its answer, or the whole statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from mithridate.attacks.text import names
from mithridate.core.scrubbed import Filter
from mithridate.core.types import Document
from mithridate.scrubbing.beliefs import KnownBelief
from mithridate.scrubbing.ranker import Scores
from mithridate.scrubbing.subjects import Subjects


class StatedIn:
    """1 for a document that names a belief's subject and its answer, or holds its statement, else 0."""

    name: ClassVar[Filter] = Filter.STRING

    def scores(self, documents: Iterable[Document], beliefs: Sequence[KnownBelief]) -> Scores:
        """See `Ranker.scores`."""
        subjects = Subjects(beliefs)
        unnamed = [belief for belief in beliefs if not belief.subject]
        found = [
            any(_states(document.text, belief) for belief in [*subjects.named_in(document.text), *unnamed])
            for document in documents
        ]
        return np.array(found, np.float64)


def _states(text: str, belief: KnownBelief) -> bool:
    said = belief.speaks_for_itself and names(text, belief.statement)
    return said or bool(belief.subject and names(text, belief.answer))
