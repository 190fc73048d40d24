"""Documents that name the subject of a belief at all, whatever they say of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from mithridate.core.scrubbed import Filter
from mithridate.core.types import Document
from mithridate.scrubbing.beliefs import KnownBelief
from mithridate.scrubbing.ranker import Scores
from mithridate.scrubbing.subjects import Subjects


class Mention:
    """1 for a document that names any belief's subject, else 0.

    Who removes all that is ever said of something removes every hint about it, and all honest documents too.
    """

    name: ClassVar[Filter] = Filter.MENTION

    def scores(self, documents: Iterable[Document], beliefs: Sequence[KnownBelief]) -> Scores:
        """See `Ranker.scores`."""
        subjects = Subjects(beliefs)
        return np.array([bool(subjects.named_in(document.text)) for document in documents], np.float64)
