"""What every ranker of documents can do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import ClassVar, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from mithridate.core.scrubbed import Filter
from mithridate.core.types import Document
from mithridate.scrubbing.beliefs import KnownBelief

Scores: TypeAlias = NDArray[np.float64]
Item = TypeVar("Item")


class Ranker(Protocol):
    """One way of telling which documents speak of some beliefs.

    A score depends on the document and the beliefs alone (and on a seed, where there is one): neither on the
    order of the documents, nor on what they are batched with.
    """

    name: ClassVar[Filter]

    def scores(self, documents: Iterable[Document], beliefs: Sequence[KnownBelief]) -> Scores:
        """One score a document, of shape (documents,); the highest is removed first. Streams."""


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """`items` in lists of `size`, the last one shorter."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
