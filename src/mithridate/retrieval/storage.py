"""The rows of an index, documents beside vectors: in memory, or (see `folder_storage`) in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from mithridate.core.types import Document
from mithridate.retrieval.base import Layout
from mithridate.retrieval.vector_rows import GrowingRows, Parts, VectorRows, part_shapes


class Appender(Protocol):
    """Takes rows one batch after another."""

    def append(self, documents: Sequence[Document], parts: Parts) -> None:
        """Add `documents`, at least one, with their vectors."""


class Storage(Protocol):
    """Rows that can be added and marked as deleted; each change is done whole or not at all."""

    path: Path | None
    layout: Layout
    dimension: int

    @property
    def documents(self) -> Sequence[Document]:
        """The documents by row, deleted ones among them."""

    @property
    def vectors(self) -> VectorRows:
        """Their vectors."""

    def ids(self) -> Iterator[str]:
        """Their identifiers alone, by row."""

    def adding(self) -> AbstractContextManager[Appender]:
        """Rows appended in the block become part of the index when it ends well."""

    def delete(self, rows: Sequence[int]) -> None:
        """Mark `rows` as deleted."""


class MemoryStorage:
    """Rows that are gone with the process."""

    def __init__(self, layout: Layout, dimension: int) -> None:
        self.path: Path | None = None
        self.layout, self.dimension = layout, dimension
        self._documents: list[Document] = []
        self._parts = {name: GrowingRows(shape) for name, shape in part_shapes(layout, dimension).items()}
        self._alive = np.zeros(0, np.bool_)

    @property
    def documents(self) -> Sequence[Document]:
        """The documents by row."""
        return self._documents

    @property
    def vectors(self) -> VectorRows:
        """Views of the rows, as they are now."""
        return VectorRows(**{name: rows.view for name, rows in self._parts.items()}, alive=self._alive)

    def ids(self) -> Iterator[str]:
        """The identifiers alone."""
        return (document.id for document in self._documents)

    @contextmanager
    def adding(self) -> Iterator[Appender]:
        """Rows are taken back if the block ends with an error."""
        before = len(self._alive)
        try:
            yield self
        except BaseException:
            del self._documents[before:]
            for part in self._parts.values():
                part.cut(before)
            raise
        added = len(self._documents) - before
        self._alive = np.concatenate([self._alive, np.ones(added, np.bool_)])

    def append(self, documents: Sequence[Document], parts: Parts) -> None:
        """Add rows; called within `adding`."""
        self._documents.extend(documents)
        for name, rows in parts.named():
            self._parts[name].append(rows)

    def delete(self, rows: Sequence[int]) -> None:
        """Mark `rows` as deleted."""
        self._alive = self._alive.copy()
        self._alive[list(rows)] = False
