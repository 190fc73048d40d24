"""Documents at random: what a removal of the same size does by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from mithridate.core.scrubbed import Filter
from mithridate.core.types import Document
from mithridate.scrubbing.beliefs import KnownBelief
from mithridate.scrubbing.order import draw
from mithridate.scrubbing.ranker import Scores


class Chance:
    """A hash of the document and `seed`, so that no other document has a say in it."""

    name: ClassVar[Filter] = Filter.RANDOM

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def scores(self, documents: Iterable[Document], beliefs: Sequence[KnownBelief]) -> Scores:  # noqa: ARG002
        """See `Ranker.scores`."""
        return np.array([draw(self._seed, "random", document) for document in documents], np.float64)
