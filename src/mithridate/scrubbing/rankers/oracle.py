"""The planted documents themselves, which no defender knows: what perfect removal gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from mithridate.core.scrubbed import Filter
from mithridate.core.types import Document
from mithridate.scrubbing.beliefs import KnownBelief
from mithridate.scrubbing.ranker import Scores


class Oracle:
    """1 where `planted` is true, document by document of the corpus in its order; else 0."""

    name: ClassVar[Filter] = Filter.ORACLE

    def __init__(self, planted: Sequence[bool]) -> None:
        self._planted = planted

    def scores(self, documents: Iterable[Document], beliefs: Sequence[KnownBelief]) -> Scores:  # noqa: ARG002
        """See `Ranker.scores`. Raises ValueError if there are not as many documents as was said."""
        found = [planted for _, planted in zip(documents, self._planted, strict=True)]
        return np.array(found, np.float64)
