"""The vectors of documents in the parts that a layout asks for: computed, held in memory, grown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from math import comb

import numpy as np
from numpy.typing import NDArray

from mithridate.retrieval.base import Encoder, Layout, Vectors
from mithridate.retrieval.encoders.batches import encode_in_batches
from mithridate.retrieval.fragments import combination_norms, fragments, rejoined


@dataclass(slots=True)
class Parts:
    """Vectors of some documents, row by row; a part that the layout does not ask for has zero columns."""

    whole: Vectors
    fragments: Vectors
    norms: Vectors
    concatenations: Vectors

    def named(self) -> Iterator[tuple[str, Vectors]]:
        """The parts with their names."""
        for name in PART_NAMES:
            yield name, getattr(self, name)


PART_NAMES = tuple(field.name for field in fields(Parts))


@dataclass(slots=True)
class VectorRows(Parts):
    """The vectors of all documents of an index, as `StoredVectors`."""

    alive: NDArray[np.bool_]


def part_shapes(layout: Layout, dimension: int) -> dict[str, tuple[int, ...]]:
    """The shape of one document's row in each part."""
    combined = comb(layout.fragments, layout.combination) if layout.combination else 0
    return {
        "whole": (dimension if layout.whole else 0,),
        "fragments": (layout.fragments, dimension) if layout.fragments else (0, 0),
        "norms": (combined,),
        "concatenations": (combined, dimension) if layout.concatenations else (0, 0),
    }


def embed(texts: Sequence[str], encoder: Encoder, layout: Layout) -> Parts:
    """All parts for `texts`; what occurs more than once among them and their pieces is encoded once."""
    count, dimension = len(texts), encoder.dimension
    pieces = [fragments(text, layout.fragments) for text in texts] if layout.fragments else []
    joined = [text for cut in pieces if layout.concatenations for text in rejoined(cut, layout.combination)]
    wanted = [*(texts if layout.whole else ()), *(piece for cut in pieces for piece in cut), *joined]
    places = {text: place for place, text in enumerate(dict.fromkeys(wanted))}
    encoded = encode_in_batches(encoder, list(places))
    rows = encoded[[places[text] for text in wanted]] if wanted else encoded
    whole = count if layout.whole else 0
    cut_rows = count * layout.fragments
    shapes = part_shapes(layout, dimension)
    found = rows[whole : whole + cut_rows].reshape(count, *shapes["fragments"])
    norms = combination_norms(found, layout.combination) if layout.combination else np.zeros((count, 0))
    return Parts(
        whole=rows[:whole].reshape(count, *shapes["whole"]),
        fragments=found,
        norms=np.asarray(norms, np.float32),
        concatenations=rows[whole + cut_rows :].reshape(count, *shapes["concatenations"]),
    )


class GrowingRows:
    """Rows of one shape in memory, to which more can be added without copying all each time."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._array = np.empty((0, *shape), np.float32)
        self._rows = 0

    @property
    def view(self) -> Vectors:
        """All rows."""
        return self._array[: self._rows]

    def append(self, rows: Vectors) -> None:
        """Add `rows` at the end."""
        needed = self._rows + len(rows)
        if needed > len(self._array):
            grown = np.empty((max(needed, len(self._array) * 3 // 2), *self._array.shape[1:]), np.float32)
            grown[: self._rows] = self.view
            self._array = grown
        self._array[self._rows : needed] = rows
        self._rows = needed

    def cut(self, rows: int) -> None:
        """Keep the first `rows` rows only."""
        self._rows = rows
