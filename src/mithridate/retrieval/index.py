"""GuardedIndex: documents and their vectors, one retriever, and a guard over what it brings up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import overload

import numpy as np

from mithridate.core.errors import DocumentError
from mithridate.core.types import Document
from mithridate.retrieval.asking import ask
from mithridate.retrieval.base import (
    Encoder,
    Hit,
    Mode,
    Query,
    Ranked,
    Reranker,
    Retriever,
)
from mithridate.retrieval.defenses import build_from_spec
from mithridate.retrieval.encoders.batches import Progress
from mithridate.retrieval.encoders.plain import Encodes, as_encoder
from mithridate.retrieval.filling import CropSample, Filling, left_out
from mithridate.retrieval.folder_storage import MASKS, FolderStorage
from mithridate.retrieval.fragments import combination_norms
from mithridate.retrieval.guard import Answer, Guard, as_mode
from mithridate.retrieval.manifest import Settings
from mithridate.retrieval.masked_vectors import MaskedVectors
from mithridate.retrieval.observing import bring_up
from mithridate.retrieval.opening import check_encoder, check_layout, fresh_manifest, with_specs
from mithridate.retrieval.ragpart import RAGPart
from mithridate.retrieval.sources import open_documents
from mithridate.retrieval.storage import MemoryStorage, Storage
from mithridate.retrieval.telemetry import searching
from mithridate.retrieval.vector_rows import Parts, VectorRows

_log = logging.getLogger("mithridate.retrieval")

_SAVED_AT_ONCE = 1024


class GuardedIndex:
    """An exact index that defends itself; `build` makes one and `open` finds it again.

    In memory, or in a folder: there, every change is on disk when the call returns, a kill leaves the index
    before it or after it, and vectors and documents are memory-mapped. Searching is safe from many threads;
    a change must be alone.

    `warnings` say what building found: an encoder that RAGPart does not fit, documents that were left out.
    """

    def __init__(
        self, storage: Storage, encoder: Encoder, retriever: Retriever, guard: Guard, settings: Settings
    ) -> None:
        self._storage, self._encoder, self._retriever, self._guard = storage, encoder, retriever, guard
        self._settings = settings
        self.warnings: tuple[str, ...] = tuple(settings.warnings)
        self._rows_by_id: dict[str, int] | None = None
        self._look_again()

    @classmethod
    def build(  # noqa: PLR0913 - a parameter a setting
        cls,
        documents: Iterable[Document] | Path | str,
        encoder: Encoder | Encodes,
        *,
        retriever: Retriever | None = None,
        rerankers: Sequence[Reranker] = (),
        mode: Mode | str = Mode.DEMOTE,
        floor: int = 1,
        path: Path | str | None = None,
        eager_masks: bool = False,
        progress: Progress | None = None,
    ) -> GuardedIndex:
        """Encode and index `documents`, or those of a BEIR folder or a file; in the folder `path` if given.

        The retriever is `RAGPart()` by default; without one that needs vectors of whole documents, they are
        kept only for rerankers and for the mode "observe". With `eager_masks`, what RAGMask needs of every
        document is encoded before the index is there, and not at its first query; a build that was killed and
        is done again finds what it had masked. Blank documents are left out, and counted in `warnings`.
        `progress` is told how many documents are done, and of how many where that is known.

        Raises DocumentError for an identifier that comes twice or if there is no document, EncoderError for
        vectors that are none, StorageError if `path` is not free.
        """
        encoder, mode = as_encoder(encoder), as_mode(mode)
        retriever = RAGPart() if retriever is None else retriever
        layout = retriever.layout
        if rerankers or mode is Mode.OBSERVE:
            layout = replace(layout, whole=True)
        folder = None if path is None else Path(path)
        guard = _guard(rerankers, encoder, mode, floor, None)
        if isinstance(documents, Path | str):
            documents = open_documents(documents)
        filling = Filling(encoder, layout, (), CropSample() if layout.fragments > 1 else None)
        settings = Settings(mode=mode, floor=floor, eager_masks=eager_masks, retriever={})
        storage: Storage
        if folder is None:
            storage = MemoryStorage(layout, encoder.dimension)
            filling.masks = _masks(guard) if eager_masks else None
            with storage.adding() as rows:
                warnings = filling.fill_new(rows, documents, progress)
            settings = settings.model_copy(update={"warnings": warnings})
        else:
            settings = with_specs(settings, retriever, rerankers)
            with FolderStorage.create(folder, fresh_manifest(encoder, layout, settings)) as new:
                guard = _guard(rerankers, encoder, mode, floor, folder)
                filling.masks = _masks(guard) if eager_masks else None
                new.warnings = filling.fill_new(new, documents, progress)
                guard.masked.flush()
            storage = FolderStorage.open(folder, verify=False)
            settings = storage.manifest.settings
        index = cls(storage, encoder, retriever, guard, settings)
        for warning in index.warnings:
            _log.warning("%s", warning)
        return index

    @classmethod
    def open(
        cls,
        path: Path | str,
        encoder: Encoder | Encodes,
        *,
        retriever: Retriever | None = None,
        rerankers: Sequence[Reranker] | None = None,
        mode: Mode | str | None = None,
        floor: int | None = None,
        verify: bool = True,
    ) -> GuardedIndex:
        """The index in the folder `path`, with the defences that it was built with where none are given.

        Another retriever must find in the index what it needs; a RAGPart with another combination of as many
        fragments does. Without `verify`, sizes are checked and checksums, which read every byte, are not.

        Raises StorageError if there is none, IndexDamagedError naming the file that is not what it was,
        EncoderError for another encoder than it was built with, ConfigError for a retriever or a mode that it
        lacks vectors for.
        """
        storage, encoder = FolderStorage.open(Path(path), verify=verify), as_encoder(encoder)
        check_encoder(encoder, storage.manifest, Path(path))
        settings = storage.manifest.settings
        retriever = build_from_spec(settings.retriever) if retriever is None else retriever
        rerankers = [build_from_spec(one) for one in settings.rerankers] if rerankers is None else rerankers
        mode = as_mode(settings.mode if mode is None else mode)
        floor = settings.floor if floor is None else floor
        check_layout(storage.layout, retriever, mode)
        guard = _guard(rerankers, encoder, mode, floor, Path(path))
        settings = settings.model_copy(update={"mode": mode, "floor": floor})
        return cls(storage, encoder, retriever, guard, settings)

    def __len__(self) -> int:
        """How many documents there are."""
        return int(self.vectors.alive.sum())

    @property
    def path(self) -> Path | None:
        """The folder, or None for an index in memory."""
        return self._storage.path

    @property
    def encoder(self) -> Encoder:
        """What its texts were encoded with."""
        return self._encoder

    @property
    def retriever(self) -> Retriever:
        """What decides which documents come up."""
        return self._retriever

    @property
    def guard(self) -> Guard:
        """Its rerankers, and the mode."""
        return self._guard

    @property
    def documents(self) -> Sequence[Document]:
        """All documents, deleted ones left out."""
        alive = self.vectors.alive
        return self.rows if alive.all() else [self.rows[int(row)] for row in np.flatnonzero(alive)]

    @property
    def rows(self) -> Sequence[Document]:
        """The documents by the rows of `vectors`, deleted ones among them: see `vectors.alive`."""
        return self._storage.documents

    @property
    def vectors(self) -> VectorRows:
        """The vectors, one row a document."""
        return self._vectors

    @property
    def nbytes(self) -> int:
        """What its vectors take, in memory or on disk."""
        return sum(rows.nbytes for _, rows in self.vectors.named())

    @overload
    def search(self, query: str, top_k: int = 5) -> Answer: ...
    @overload
    def search(self, query: list[str] | tuple[str, ...], top_k: int = 5) -> list[Answer]: ...
    def search(self, query: str | list[str] | tuple[str, ...], top_k: int = 5) -> Answer | list[Answer]:
        """The answer to a query, or one to each of several, of at most `top_k` hits (all there are if fewer).

        Raises QueryError for an empty query or a `top_k` below 1.
        """
        queries = [query] if isinstance(query, str) else list(query)
        answers = [self._answer(one, top_k) for one in ask(self._encoder, queries, top_k)]
        return answers[0] if isinstance(query, str) else answers

    def _answer(self, query: Query, top_k: int) -> Answer:
        with searching("GuardedIndex.search", self._retriever.name, query.text, top_k) as tell:
            vectors, width = self.vectors, self._guard.breadth(top_k)
            ranked = bring_up(self._retriever, vectors, query.vector, width, self._guard.mode)
            answer = self._guard.rerank(query, [self._hit(one, vectors) for one in ranked], top_k)
            tell(answer)
        return answer

    def _hit(self, ranked: Ranked, vectors: VectorRows) -> Hit:
        return Hit(
            document=self.rows[ranked.row],
            score=ranked.score,
            reasons=() if ranked.reason is None else (ranked.reason,),
            vector=np.array(vectors.whole[ranked.row]) if vectors.whole.shape[1] else None,
        )

    def add(self, documents: Iterable[Document], progress: Progress | None = None) -> int:
        """Add `documents`, all of them or none, and return how many came; blank ones are left out.

        In a folder each call adds a file, so add many at once; `save` with `replace` joins them. Raises
        DocumentError for an identifier that is taken; in a folder, RunStateError if another process changed
        the index since it was opened.
        """
        before = len(self.rows)
        filling = Filling(self._encoder, self._storage.layout, self._ids())
        filling.masks = _masks(self._guard) if self._settings.eager_masks else None
        with self._storage.adding() as rows:
            filling.fill(rows, documents, progress)
            self._guard.masked.flush()
        if filling.blank:
            _log.warning("%s", left_out(filling.blank))
        self._ids().update({one.id: row for row, one in enumerate(self.rows[before:], start=before)})
        self._look_again()
        return filling.added

    def delete(self, ids: Iterable[str]) -> None:
        """Delete documents by their identifiers, all of them or none.

        They are never found again; the space that they take comes back when the index is saved anew. Raises
        DocumentError for an identifier that is not there.
        """
        known = self._ids()
        wanted = list(dict.fromkeys([ids] if isinstance(ids, str) else ids))
        if missing := [one for one in wanted if one not in known]:
            raise DocumentError(
                f"{len(missing)} of the documents to delete are not here, such as {missing[0]!r}"
            )
        self._storage.delete([known[one] for one in wanted])
        for one in wanted:
            del known[one]
        self._look_again()

    def save(self, path: Path | str, *, replace: bool = False) -> None:
        """Write the index, without deleted documents, to the folder `path`.

        The one that is open stays where it is; with `replace` an index that is at `path` is replaced, and if
        it is this one, it goes on without the deleted. Raises StorageError if `path` is not free, and
        DocumentError if there is nothing to save.
        """
        live = np.flatnonzero(self.vectors.alive)
        if not len(live):
            raise DocumentError("the index holds no document; there is nothing to save")
        settings = with_specs(self._settings, self._retriever, self._guard.rerankers)
        manifest, stored = (
            fresh_manifest(self._encoder, self._storage.layout, settings),
            self._storage.vectors,
        )
        with FolderStorage.create(Path(path), manifest, replace=replace) as rows:
            for start in range(0, len(live), _SAVED_AT_ONCE):
                some = live[start : start + _SAVED_AT_ONCE]
                parts = Parts(**{name: part[some] for name, part in stored.named()})
                rows.append([self.rows[int(row)] for row in some], parts)
        if self.path is not None and self.path.resolve() == Path(path).resolve():
            self._storage = FolderStorage.open(Path(path), verify=False)
            self._rows_by_id = None
            self._look_again()

    def _ids(self) -> dict[str, int]:
        """The rows of the documents that are not deleted, by identifier."""
        if self._rows_by_id is None:
            alive = self.vectors.alive
            self._rows_by_id = {one: row for row, one in enumerate(self._storage.ids()) if alive[row]}
        return self._rows_by_id

    def _look_again(self) -> None:
        """Take the vectors from the storage; lengths of other combinations than it keeps are computed."""
        vectors = self._storage.vectors
        kept, wanted = self._storage.layout, self._retriever.layout
        if wanted.combination and wanted.combination != kept.combination and not wanted.concatenations:
            norms = combination_norms(vectors.fragments, wanted.combination)
            vectors = replace(vectors, norms=norms)
        self._vectors = vectors


def _masks(guard: Guard) -> Callable[[str], object]:
    """What encodes all that RAGMask needs of a text, and keeps it where the guard looks for it."""
    encodings = guard.encodings()
    maskings = [reranker.masking for reranker in guard.rerankers if hasattr(reranker, "masking")]
    return lambda text: [encodings.masked(text, masking) for masking in maskings]


def _guard(
    rerankers: Sequence[Reranker], encoder: Encoder, mode: Mode, floor: int, folder: Path | None
) -> Guard:
    masks = folder is not None and any(hasattr(reranker, "masking") for reranker in rerankers)
    masked = MaskedVectors(encoder, folder / MASKS) if masks and folder is not None else None
    return Guard(rerankers, encoder, mode=mode, floor=floor, masked=masked)
