"""A corpus encoded once for all defences that are compared, to which planted documents come and go."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from mithridate.core.errors import DocumentError
from mithridate.core.types import Document
from mithridate.retrieval.base import Encoder, Layout, TextRole, Vectors
from mithridate.retrieval.encoders.batches import Progress
from mithridate.retrieval.encoders.cache import CachedEncoder
from mithridate.retrieval.fragments import combination_norms
from mithridate.retrieval.vector_rows import GrowingRows, VectorRows, embed, part_shapes

_BATCH = 256
_FEW = 0.02


@dataclass(frozen=True, slots=True)
class BuildCost:
    """How many texts were encoded for a layout, and in how many seconds; None if some came from a cache."""

    texts: int
    seconds: float | None


@dataclass(slots=True)
class _Part:
    """One array over all documents, and what it took."""

    layout: Layout
    name: str
    rows: GrowingRows
    cost: BuildCost = BuildCost(0, 0.0)


class CorpusVectors:
    """The vectors of a corpus in every layout that was asked for; parts that layouts share are kept once.

    Blank documents are left out, as an index leaves them out. Raises DocumentError for an identifier that
    comes twice, or if there is no document.
    """

    def __init__(self, documents: Sequence[Document], encoder: Encoder) -> None:
        self.documents = [document for document in documents if document.text.strip()]
        self.left_out = len(documents) - len(self.documents)
        self.encoder = encoder
        self._clean = len(self.documents)
        self._parts: dict[Layout, _Part] = {}
        self._norms: dict[tuple[int, int], GrowingRows] = {}
        if not self.documents:
            raise DocumentError("there is no document to measure with")
        _check_unique(self.documents)

    def prepare(self, layouts: Sequence[Layout], progress: Progress | None = None) -> None:
        """Encode what `layouts` need and is not there; `progress` is told of documents x parts."""
        missing = [part for part in dict.fromkeys(_units(layouts)) if part not in self._parts]
        total = len(missing) * self._clean
        for number, unit in enumerate(missing):
            name = _name(unit)
            part = _Part(unit, name, GrowingRows(part_shapes(unit, self.encoder.dimension)[name]))
            counting = _Counting(self.encoder)
            started = time.perf_counter()
            for start in range(0, self._clean, _BATCH):
                self._append(part, self.documents[start : start + _BATCH], counting)
                if progress is not None:
                    progress(number * self._clean + min(start + _BATCH, self._clean), total)
            seconds = time.perf_counter() - started
            part.cost = BuildCost(counting.count, None if counting.spared else seconds)
            self._parts[unit] = part
        for layout in layouts:
            self._prepare_norms(layout)

    @contextmanager
    def planted(self, documents: Sequence[Document]) -> Iterator[None]:
        """Within the block, `documents` are at the end of the corpus; blank ones are left out.

        Raises DocumentError for an identifier that is taken.
        """
        more = [document for document in documents if document.text.strip()]
        _check_unique([*self.documents, *more])
        self.documents += more
        try:
            for part in self._parts.values():
                self._append(part, more, self.encoder)
            for (n, k), norms in self._norms.items():
                new = self._fragments(n).view[self._clean :]
                norms.append(combination_norms(new, k))
            yield
        finally:
            del self.documents[self._clean :]
            for rows in (*(part.rows for part in self._parts.values()), *self._norms.values()):
                rows.cut(self._clean)

    def view(self, layout: Layout) -> VectorRows:
        """The rows as a retriever wants them; valid until documents come or go."""
        count = len(self.documents)
        shapes = part_shapes(layout, self.encoder.dimension)
        parts = {name: np.zeros((count, *shape), np.float32) for name, shape in shapes.items() if 0 in shape}
        for unit in _units([layout]):
            parts[_name(unit)] = self._parts[unit].rows.view
        if layout.combination:
            parts["norms"] = self._norms[layout.fragments, layout.combination].view
        return VectorRows(**parts, alive=np.ones(count, np.bool_))

    def build_cost(self, layout: Layout) -> BuildCost:
        """What an index of the clean corpus takes to build in this layout."""
        costs = [self._parts[unit].cost for unit in _units([layout])]
        seconds = [cost.seconds for cost in costs if cost.seconds is not None]
        whole = sum(seconds) if len(seconds) == len(costs) else None
        return BuildCost(sum(cost.texts for cost in costs), whole)

    def _append(self, part: _Part, documents: Sequence[Document], encoder: Encoder) -> None:
        parts = embed([document.text for document in documents], encoder, part.layout)
        part.rows.append(dict(parts.named())[part.name])

    def _prepare_norms(self, layout: Layout) -> None:
        n, k = layout.fragments, layout.combination
        if k and (n, k) not in self._norms:
            norms = combination_norms(self._fragments(n).view, k)
            self._norms[n, k] = GrowingRows(norms.shape[1:])
            self._norms[n, k].append(norms)

    def _fragments(self, n: int) -> GrowingRows:
        return self._parts[Layout(whole=False, fragments=n)].rows


def _units(layouts: Sequence[Layout]) -> list[Layout]:
    """The layouts of a single part each that these are made of."""
    units = []
    for layout in layouts:
        if layout.whole:
            units.append(Layout())
        if layout.fragments:
            units.append(Layout(whole=False, fragments=layout.fragments))
        if layout.concatenations:
            units.append(Layout(False, layout.fragments, layout.combination, True))
    return units


def _name(unit: Layout) -> str:
    """Which part of its vectors a unit is there for."""
    return "whole" if unit.whole else "concatenations" if unit.concatenations else "fragments"


def _check_unique(documents: Sequence[Document]) -> None:
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            raise DocumentError(f"the identifier {document.id!r} comes twice")
        seen.add(document.id)


class _Counting:
    """An encoder that counts what it encodes, and how much of that a cache answered in its place."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.identity, self.dimension = encoder.identity, encoder.dimension
        self.count = self._found = 0

    @property
    def spared(self) -> bool:
        """Whether a cache took off so much that the time says nothing; texts that recur are few."""
        return self._found > _FEW * self.count

    def encode(self, texts: Sequence[str], *, role: TextRole = TextRole.DOCUMENT) -> Vectors:
        before = self._encoder.found if isinstance(self._encoder, CachedEncoder) else 0
        rows = self._encoder.encode(texts, role=role)
        self.count += len(texts)
        if isinstance(self._encoder, CachedEncoder):
            self._found += self._encoder.found - before
        return rows

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return self._encoder.token_spans(text)

    @property
    def mask_text(self) -> str | None:
        return self._encoder.mask_text
