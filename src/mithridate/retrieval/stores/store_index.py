"""The guarded search over a vector store: candidates from the store, then exact scores and the defences."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import overload

import numpy as np

from mithridate.core.errors import ConfigError, DocumentError, QueryError, StoreUnavailableError
from mithridate.core.types import Document
from mithridate.retrieval.asking import ask
from mithridate.retrieval.base import (
    Encoder,
    Hit,
    Layout,
    Mode,
    Query,
    Ranked,
    Reranker,
    Retriever,
    Vectors,
)
from mithridate.retrieval.encoders.batches import Progress
from mithridate.retrieval.encoders.plain import Encodes, as_encoder
from mithridate.retrieval.filling import CropSample, left_out
from mithridate.retrieval.fragments import combination_norms
from mithridate.retrieval.guard import Answer, Guard
from mithridate.retrieval.masked_vectors import MaskedVectors
from mithridate.retrieval.observing import bring_up
from mithridate.retrieval.ragpart import RAGPart
from mithridate.retrieval.stores.base import AT_ONCE, About, Candidate, Entry, Searched, VectorStore
from mithridate.retrieval.telemetry import searching
from mithridate.retrieval.vector_rows import VectorRows, embed, part_shapes

_log = logging.getLogger("mithridate.retrieval")


class StoreIndex:
    """A retriever and a guard over the documents of a `VectorStore`, whose vectors this class puts there.

    A query fetches `candidates` documents by the vectors of whole texts, and as many by the means of
    fragments if the retriever uses these; then it fetches their vectors, and retriever and rerankers work on
    these candidates exactly as `GuardedIndex` does on all. `missed` tells what that costs.

    If the store fails after it found candidates by whole texts, and only then, `fail_open` gives the
    undefended answer with a warning instead of a StoreUnavailableError.

    `warnings` say what `add` found so far: an encoder that RAGPart does not fit, documents that were blank.

    Raises EncoderError if the store holds another encoder's vectors, ConfigError for a retriever over
    rejoined texts, whose vectors no store holds.
    """

    def __init__(  # noqa: PLR0913 - a parameter a setting
        self,
        store: VectorStore,
        encoder: Encoder | Encodes,
        *,
        retriever: Retriever | None = None,
        rerankers: Sequence[Reranker] = (),
        mode: Mode | str = Mode.DEMOTE,
        floor: int = 1,
        candidates: int = 200,
        fail_open: bool = False,
        masked: MaskedVectors | None = None,
    ) -> None:
        if candidates < 1:
            raise ConfigError(f"candidates is {candidates}, but must be at least 1")
        self.store, self.encoder = store, as_encoder(encoder)
        self.retriever = RAGPart() if retriever is None else retriever
        layout = self.retriever.layout
        if layout.concatenations:
            raise ConfigError(
                f"retriever {self.retriever.name!r} needs an index of its own: use GuardedIndex"
            )
        self._layout = Layout(whole=True, fragments=layout.fragments, combination=layout.combination)
        # Whole texts first: their order is the undefended answer.
        self._searched: tuple[Searched, ...] = ("whole", "mean") if layout.fragments else ("whole",)
        self.guard = Guard(rerankers, self.encoder, mode=mode, floor=floor, masked=masked)
        self._candidates, self._fail_open = candidates, fail_open
        self.warnings: tuple[str, ...] = ()
        self._sample = CropSample() if layout.fragments > 1 else None
        self._blank = self._blanked = 0
        store.prepare(About(self.encoder.identity, self.encoder.dimension, layout.fragments))

    def __len__(self) -> int:
        """How many documents the store holds."""
        return len(self.store)

    def add(self, documents: Iterable[Document], progress: Progress | None = None) -> int:
        """Encode documents and put them in the store, and return how many; a known identifier is replaced.

        Blank documents are left out, and what they replace is deleted; both are counted in `warnings`. What
        was put before an error stays. Raises DocumentError for what is no document.
        """
        done = 0
        for batch in _batches(documents):
            # Of an identifier that comes twice, the last text counts.
            last = {document.id: document.text for document in batch}
            kept = [one for one in batch if one.text.strip() and last[one.id].strip()]
            self._put(kept)
            self._blank += sum(not document.text.strip() for document in batch)
            self._delete_blanked([one for one, text in last.items() if not text.strip()])
            done += len(kept)
            if progress is not None:
                progress(done, None)
        self._warn()
        return done

    def _put(self, documents: Sequence[Document]) -> None:
        if not documents:
            return
        parts = embed([document.text for document in documents], self.encoder, self._layout)
        rows = zip(documents, parts.whole, parts.fragments, strict=True)
        self.store.put([Entry(document, whole, pieces) for document, whole, pieces in rows])
        if self._sample is not None:
            self._sample.see(documents, parts)

    def _delete_blanked(self, ids: Sequence[str]) -> None:
        """Delete documents whose new text is blank: nobody shall find the old one."""
        if ids and (there := list(self.store.vectors(ids))):
            self.store.delete(there)
            self._blanked += len(there)

    def _warn(self) -> None:
        """Say what is to be said of all that was added, and log what is new of it."""
        before, warnings = self.warnings, []
        if self._blank:
            deleted = f"; {self._blanked} documents that they replaced were deleted" if self._blanked else ""
            warnings.append(left_out(self._blank) + deleted)
        if self._sample is not None and (found := self._sample.check(self.encoder).warning):
            warnings.append(found)
        self.warnings = tuple(warnings)
        for warning in warnings:
            if warning not in before:
                _log.warning("%s", warning)

    def delete(self, ids: Iterable[str]) -> None:
        """Delete documents from the store; identifiers that are not there are passed over."""
        self.store.delete([ids] if isinstance(ids, str) else list(ids))

    @overload
    def search(self, query: str, top_k: int = 5) -> Answer: ...
    @overload
    def search(self, query: list[str] | tuple[str, ...], top_k: int = 5) -> list[Answer]: ...
    def search(self, query: str | list[str] | tuple[str, ...], top_k: int = 5) -> Answer | list[Answer]:
        """The answer to a query, or one to each of several.

        Raises QueryError for an empty query or a `top_k` below 1, StoreUnavailableError.
        """
        queries = [query] if isinstance(query, str) else list(query)
        answers = [self._traced(one, top_k) for one in ask(self.encoder, queries, top_k)]
        return answers[0] if isinstance(query, str) else answers

    def missed(self, queries: Sequence[str], top_k: int = 5) -> float:
        """The share of the exact results of `queries` that is not among those of the candidates.

        Both are what the retriever brings up, before any reranker. Everything in the store is read into
        memory, once. Raises QueryError without a query.
        """
        if not queries:
            raise QueryError("there is no query to compare results for")
        everything = self._rows([entry for batch in self.store.entries() for entry in batch])
        exact = lost = 0
        for query in ask(self.encoder, queries, top_k):
            right = {d.id for d in self._brought_up(everything, query, top_k)}
            fetched = self._fetched(self._found(query, top_k, self._searched))
            found = {d.id for d in self._brought_up(fetched, query, top_k)}
            exact, lost = exact + len(right), lost + len(right - found)
        return lost / exact if exact else 0.0

    def _brought_up(self, rows: _Rows, query: Query, top_k: int) -> list[Document]:
        ranked = bring_up(self.retriever, rows.vectors, query.vector, top_k, self.guard.mode)
        return [rows.entries[one.row].document for one in ranked]

    def _traced(self, query: Query, top_k: int) -> Answer:
        with searching("StoreIndex.search", self.retriever.name, query.text, top_k) as tell:
            answer = self._answer(query, top_k)
            tell(answer)
        return answer

    def _answer(self, query: Query, top_k: int) -> Answer:
        found = self._found(query, top_k, self._searched[:1])
        try:
            found |= self._found(query, top_k, self._searched[1:])
            rows = self._fetched(found)
        except StoreUnavailableError as error:
            if not self._fail_open:
                raise
            warning = f"undefended answer: {error}"
            _log.warning("%s", warning)
            hits = tuple(Hit(one.document, one.score) for one in found["whole"][:top_k])
            return Answer(hits, warnings=(warning,))
        width = self.guard.breadth(top_k)
        ranked = bring_up(self.retriever, rows.vectors, query.vector, width, self.guard.mode)
        return self.guard.rerank(query, [rows.hit(one) for one in ranked], top_k)

    def _found(
        self, query: Query, top_k: int, searched: Sequence[Searched]
    ) -> dict[Searched, list[Candidate]]:
        """Candidates by each of the vectors `searched`."""
        limit = max(self._candidates, self.guard.breadth(top_k))
        return {by: self.store.nearest(query.vector, by, limit) for by in searched}

    def _fetched(self, found: dict[Searched, list[Candidate]]) -> _Rows:
        """All candidates with their vectors; a document that was deleted meanwhile is left out."""
        documents = {one.document.id: one.document for some in found.values() for one in some}
        vectors = self.store.vectors(list(documents)) if documents else {}
        entries = [Entry(documents[one], *pair) for one, pair in vectors.items() if one in documents]
        return self._rows(entries)

    def _rows(self, entries: Sequence[Entry]) -> _Rows:
        return _Rows(entries, self._layout, self.encoder.dimension)


class _Rows:
    """Entries as the rows of an index, in the order of their identifiers, so that ties break alike."""

    def __init__(self, entries: Sequence[Entry], layout: Layout, dimension: int) -> None:
        self.entries = sorted(entries, key=lambda entry: entry.document.id)
        count = len(self.entries)
        shapes = part_shapes(layout, dimension)
        pieces = self._stacked([entry.fragments for entry in self.entries], shapes["fragments"])
        norms = (
            combination_norms(pieces, layout.combination)
            if layout.combination
            else np.zeros((count, 0), np.float32)
        )
        self.vectors = VectorRows(
            whole=self._stacked([entry.whole for entry in self.entries], shapes["whole"]),
            fragments=pieces,
            norms=norms,
            concatenations=np.zeros((count, *shapes["concatenations"]), np.float32),
            alive=np.ones(count, np.bool_),
        )

    @staticmethod
    def _stacked(rows: Sequence[Vectors], shape: tuple[int, ...]) -> Vectors:
        if not rows or not all(shape):
            return np.zeros((len(rows), *shape), np.float32)
        return np.stack(rows)

    def hit(self, ranked: Ranked) -> Hit:
        entry = self.entries[ranked.row]
        reasons = () if ranked.reason is None else (ranked.reason,)
        return Hit(entry.document, ranked.score, reasons, entry.whole)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    def checked() -> Iterator[Document]:
        for number, document in enumerate(documents):
            if not isinstance(document, Document):
                kind = type(document).__name__
                raise DocumentError(f"document {number} is a {kind}; expected Document(id, text)")
            yield document

    some = checked()
    while batch := list(islice(some, AT_ONCE)):
        yield batch
