"""The first pass over the files: each example looked at once, and what is needed of it kept in arrays.

Nothing that is kept depends on the other examples, on their order, or on how many are looked at together. The
vectors and signatures lie in files; all else takes some 50 bytes an example.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mithridate.core.artifacts import storage_errors
from mithridate.core.errors import DataError
from mithridate.curation.example import Example
from mithridate.curation.filters import Filter
from mithridate.curation.reading import Reader
from mithridate.curation.scores import complexity_quality
from mithridate.curation.signatures import PLACES, Signatures, Signer
from mithridate.curation.vectors import Grid, on_grid
from mithridate.retrieval.base import Encoder

EXAMPLES_AT_ONCE = 2048
_NOTHING = " "

OnStage: TypeAlias = Callable[[str, int, int | None], object]
"""Called with what is done now, how much of it, and of how much where that is known."""


class Names:
    """Words by number, each once, in the order in which they were met."""

    def __init__(self, *known: str) -> None:
        self._numbers: dict[str, int] = {}
        for name in known:
            self.number(name)

    def number(self, name: str) -> int:
        """The number of `name`, a new one if it has none."""
        return self._numbers.setdefault(name, len(self._numbers))

    def all(self) -> tuple[str, ...]:
        """All of them by their numbers."""
        return tuple(self._numbers)


@dataclass(frozen=True)
class Survey:
    """What the first pass found, a row an example in the order of the files.

    `files`, `places`: where it stands; `sources`, `reasons`: numbers into `source_names` and `reason_names`,
    of which reason 0 is to have none; `filters`: the number of the filter that dropped it, or -1;
    `digests`: hash of the conversation; `words`: how many it has; `characters`: of the last reply;
    `signatures` (n, 64): MinHash; `vectors` (n, dimension): the embedded requests, on the grid.
    """

    files: NDArray[np.int32]
    places: NDArray[np.int64]
    sources: NDArray[np.int32]
    reasons: NDArray[np.int32]
    filters: NDArray[np.int8]
    digests: NDArray[np.uint64]
    words: NDArray[np.int64]
    characters: NDArray[np.int64]
    scores: NDArray[np.float64]
    signatures: Signatures
    vectors: Grid
    source_names: tuple[str, ...]
    reason_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)


def survey(
    reader: Reader,
    filters: list[Filter],
    encoder: Encoder,
    scratch: Path,
    on_stage: OnStage | None = None,
) -> Survey:
    """Look at every example once; vectors and signatures go to files in the folder `scratch`.

    Raises DataError for a record that is no conversation, and where there is no example at all; StorageError
    where the folder cannot be written to.
    """
    columns = _Columns()
    signer = Signer()
    with (
        storage_errors(scratch),
        (scratch / "vectors").open("wb") as vectors,
        (scratch / "signatures").open("wb") as signatures,
    ):
        examples = reader.examples()
        while batch := list(islice(examples, EXAMPLES_AT_ONCE)):
            found = [example for _, _, example in batch]
            vectors.write(_encoded(encoder, found).tobytes())
            signatures.write(signer.sign([_all_words(example) for example in found]).tobytes())
            for number, record, example in batch:
                columns.add(number, record.place, example, _dropped(example, filters))
            if on_stage is not None:
                on_stage("looking at examples", len(columns.files), None)
    count = len(columns.files)
    if not count:
        raise DataError("holds no examples", path=reader.files[0].path)
    return columns.finished(
        np.memmap(scratch / "vectors", np.int16, "r", shape=(count, encoder.dimension)),
        np.memmap(scratch / "signatures", np.uint32, "r", shape=(count, PLACES)),
    )


def _encoded(encoder: Encoder, examples: list[Example]) -> Grid:
    # Some encoders refuse a text in which there is nothing.
    return on_grid(encoder.encode([example.request.strip() or _NOTHING for example in examples]))


def _all_words(example: Example) -> list[str]:
    return [word for exchange in example.words for part in exchange for word in part]


def _dropped(example: Example, filters: list[Filter]) -> tuple[int, str]:
    """The number of the first filter that the example does not pass, and its reason; or -1."""
    for number, rule in enumerate(filters):
        reason = rule.reason(example)
        if reason is not None:
            return number, reason
    return -1, ""


class _Columns:
    """The columns of a survey as they grow."""

    def __init__(self) -> None:
        self.files, self.sources, self.reasons = array("i"), array("i"), array("i")
        self.places, self.words, self.characters = array("q"), array("q"), array("q")
        self.filters, self.digests, self.scores = array("b"), array("Q"), array("d")
        self._source_names, self._reason_names = Names(), Names("")

    def add(self, file: int, place: int, example: Example, dropped: tuple[int, str]) -> None:
        """One more example."""
        self.files.append(file)
        self.places.append(place)
        self.sources.append(self._source_names.number(example.source))
        self.filters.append(dropped[0])
        self.reasons.append(self._reason_names.number(dropped[1]))
        self.digests.append(example.digest)
        self.words.append(sum(len(part) for exchange in example.words for part in exchange))
        self.characters.append(len(example.reply.strip()))
        self.scores.append(complexity_quality(example))

    def finished(self, vectors: Grid, signatures: Signatures) -> Survey:
        """The survey, its sources in alphabetical order, which does not depend on that of the files."""
        names = self._source_names.all()
        ordered = sorted(names)
        place = {name: number for number, name in enumerate(ordered)}
        renumbered = np.array([place[name] for name in names], np.int32)
        return Survey(
            files=np.array(self.files, np.int32),
            places=np.array(self.places, np.int64),
            sources=renumbered[np.array(self.sources, np.int32)],
            reasons=np.array(self.reasons, np.int32),
            filters=np.array(self.filters, np.int8),
            digests=np.array(self.digests, np.uint64),
            words=np.array(self.words, np.int64),
            characters=np.array(self.characters, np.int64),
            scores=np.array(self.scores, np.float64),
            signatures=signatures,
            vectors=vectors,
            source_names=tuple(ordered),
            reason_names=self._reason_names.all(),
        )
