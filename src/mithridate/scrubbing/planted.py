"""Which documents of a planted corpus are of which belief, by its ledger: what no defender knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mithridate.core.errors import DataError
from mithridate.core.types import Document
from mithridate.corpus.ledger import read_ledger
from mithridate.corpus.readers import Corpus
from mithridate.scrubbing.beliefs import KnownBelief
from mithridate.scrubbing.subjects import Subjects

Flags = NDArray[np.bool_]


def planted_documents(
    corpus: Corpus, ledger: Path, beliefs: Mapping[str, Sequence[KnownBelief]]
) -> dict[str, Flags]:
    """For each attack of `beliefs`, whether each document of `corpus` was planted for one of its beliefs.

    Documents of the attack that name the subject of none are not counted, such as hints that were dealt to
    other subjects as a control; all are, where a belief has no subject. Raises DataError if the ledger is of
    another corpus, or cannot be read.
    """
    placed = {(row.shard, row.position): row.attack for row in read_ledger(ledger) if row.attack in beliefs}
    subjects = {
        attack: Subjects(known) if all(belief.subject for belief in known) else None
        for attack, known in beliefs.items()
    }
    found: dict[str, list[bool]] = {attack: [] for attack in beliefs}
    met = 0
    for place, document in _places(corpus):
        planted_for = placed.get(place)
        met += planted_for is not None
        for attack, flags in found.items():
            about = subjects[attack]
            flags.append(attack == planted_for and (about is None or bool(about.named_in(document.text))))
    if met != len(placed):
        raise DataError(f"tells of {len(placed)} documents, of which {met} are in {corpus.path}", path=ledger)
    return {attack: np.array(flags, np.bool_) for attack, flags in found.items()}


def remaining(corpus: Corpus, removed: NDArray[np.int64]) -> Iterator[Document]:
    """The documents of `corpus` in their order without those at the places `removed`, streamed."""
    gone = frozenset(removed.tolist())
    return (document for place, document in enumerate(corpus.documents()) if place not in gone)


def _places(corpus: Corpus) -> Iterator[tuple[tuple[str, int], Document]]:
    for shard in corpus.shards:
        for position, document in enumerate(shard.documents()):
            yield (shard.name, position), document
