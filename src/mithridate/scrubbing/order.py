"""Which documents go first: those with the highest scores, among equals those that a seeded draw picks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mithridate.core.seeds import derive_seed
from mithridate.core.types import Document
from mithridate.scrubbing.ranker import Scores

_SEEDS = 2**63
# Scores that differ by less are equal: the last digits depend on what a document was batched with.
_DIGITS = 5


def draw(seed: int, purpose: str, document: Document) -> float:
    """A number from 0 to 1 that depends on `seed` and the document alone."""
    return derive_seed(seed, purpose, document.id, document.text) / _SEEDS


def draws(seed: int, documents: Iterable[Document]) -> Scores:
    """What decides between documents of the same score, one number each."""
    return np.array([draw(seed, "ties", document) for document in documents], np.float64)


def first_to_go(scores: Scores, ties: Scores, share: float) -> NDArray[np.int64]:
    """Places of the `share` of all documents that go first, in whole documents, the first in front."""
    order = np.lexsort((ties, -np.round(scores, _DIGITS)))
    wanted: NDArray[np.int64] = order[: round(share * len(order))].astype(np.int64)
    return wanted


def caught(removed: NDArray[np.int64], planted: Sequence[bool] | NDArray[np.bool_]) -> int:
    """How many of the documents that are `planted` were removed."""
    return int(np.asarray(planted, bool)[removed].sum()) if len(removed) else 0
