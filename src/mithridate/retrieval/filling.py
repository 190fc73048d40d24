"""Documents into an index: checked, encoded in batches, and the encoder looked at on the way."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Iterable, Iterator, Sized
from dataclasses import dataclass, field

import numpy as np

from mithridate.core.errors import DocumentError
from mithridate.core.types import Document
from mithridate.retrieval.base import Encoder, Layout, Vectors
from mithridate.retrieval.crop_check import CropCheck, judge, long_enough
from mithridate.retrieval.encoders.batches import Progress, encode_in_batches
from mithridate.retrieval.storage import Appender
from mithridate.retrieval.vector_rows import Parts, embed

_BATCH_DOCUMENTS = 256
_BATCH_CHARACTERS = 8_000_000
# Of longer documents, most encoders read the beginning only: they would say more of that than of cropping.
_SAMPLED_CHARACTERS = 100_000
_SEED = 0


@dataclass(slots=True)
class Filling:
    """Adds documents to an index: `known` are the identifiers that it has, `new` those that come.

    Blank documents, which have no direction, are left out and counted in `blank`. `masks` is called with
    each text, and encodes what is to be there by the time that the document counts.
    """

    encoder: Encoder
    layout: Layout
    known: Container[str]
    sample: CropSample | None = None
    masks: Callable[[str], object] | None = None
    new: set[str] = field(default_factory=set)
    added: int = 0
    blank: int = 0

    def fill(self, rows: Appender, documents: Iterable[Document], progress: Progress | None = None) -> None:
        """Encode and append `documents`, telling `progress` how many of them are done.

        Raises DocumentError for what is no document, and for an identifier that is taken.
        """
        total = len(documents) if isinstance(documents, Sized) else None
        for batch in self._batches(documents):
            parts = embed([document.text for document in batch], self.encoder, self.layout)
            rows.append(batch, parts)
            if self.sample is not None:
                self.sample.see(batch, parts)
            if self.masks is not None:
                for document in batch:
                    self.masks(document.text)
            self.added += len(batch)
            if progress is not None:
                progress(self.added + self.blank, total)

    def fill_new(
        self, rows: Appender, documents: Iterable[Document], progress: Progress | None = None
    ) -> list[str]:
        """Fill a new index, and tell what is to be said about it whenever it is opened.

        Raises DocumentError also if there is no document.
        """
        self.fill(rows, documents, progress)
        warnings = [left_out(self.blank)] if self.blank else []
        if not self.added:
            raise DocumentError("; ".join(["there is no document to index", *warnings]))
        if self.sample is not None and (found := self.sample.check(self.encoder).warning):
            warnings.append(found)
        return warnings

    def _batches(self, documents: Iterable[Document]) -> Iterator[list[Document]]:
        batch: list[Document] = []
        characters = 0
        for number, document in enumerate(documents):
            self._check(number, document)
            if not document.text.strip():
                self.blank += 1
                continue
            batch.append(document)
            characters += len(document.text)
            if len(batch) == _BATCH_DOCUMENTS or characters > _BATCH_CHARACTERS:
                yield batch
                batch, characters = [], 0
        if batch:
            yield batch

    def _check(self, number: int, document: object) -> None:
        if not isinstance(document, Document):
            kind = type(document).__name__
            raise DocumentError(f"document {number} is a {kind}; expected Document(id, text)")
        if not isinstance(document.id, str) or not isinstance(document.text, str):
            raise DocumentError(f"document {number}: id and text must be strings")
        if document.id in self.known or document.id in self.new:
            raise DocumentError(f"document {number}: the identifier {document.id!r} is taken already")
        self.new.add(document.id)


def left_out(blank: int) -> str:
    """How it is said that documents were blank."""
    return f"{blank} blank documents were left out"


@dataclass(slots=True)
class CropSample:
    """A random sample of the documents that went by, with their vectors, for the check of the encoder."""

    size: int = 200
    _seen: int = 0
    _kept: list[tuple[str, Vectors, Vectors]] = field(default_factory=list)
    _rng: random.Random = field(default_factory=lambda: random.Random(_SEED))

    def see(self, documents: Iterable[Document], parts: Parts) -> None:
        """Look at a batch; every document has the same chance to stay."""
        for document, whole, pieces in zip(documents, parts.whole, parts.fragments, strict=True):
            text = document.text
            if len(text) > _SAMPLED_CHARACTERS or not long_enough(text, len(pieces)):
                continue
            self._seen += 1
            place = len(self._kept) if len(self._kept) < self.size else self._rng.randrange(self._seen)
            if place < self.size:
                self._kept[place : place + 1] = [(text, whole.copy(), pieces.copy())]

    def check(self, encoder: Encoder) -> CropCheck:
        """The check on the sample; whole documents are encoded where the index does not keep them."""
        if not self._kept:
            none = np.zeros((0, encoder.dimension), np.float32)
            return judge(none, none[:, None], encoder.identity)
        texts, whole, pieces = zip(*self._kept, strict=True)
        known = np.stack(whole)
        rows = known if known.shape[1] else encode_in_batches(encoder, list(texts))
        return judge(rows, np.stack(pieces), encoder.identity)
