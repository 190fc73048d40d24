"""Small indexes and hits for tests of the defences."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mithridate.core.types import Document
from mithridate.retrieval.base import Hit, Query, Reason, TextRole, Vectors
from mithridate.retrieval.fragments import combination_norms
from mithridate.retrieval.ranking import similarities


@dataclass
class Stored:
    """The vectors of an index, in memory."""

    whole: Vectors
    fragments: Vectors
    norms: Vectors
    concatenations: Vectors
    alive: NDArray[np.bool_]


def unit(rows: NDArray[np.floating]) -> Vectors:
    rows = np.asarray(rows, np.float64)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def stored(fragments: Vectors, k: int, *, whole: Vectors | None = None, dead: Sequence[int] = ()) -> Stored:
    alive = np.ones(len(fragments), bool)
    alive[list(dead)] = False
    none = np.zeros((len(fragments), 0), np.float32)
    return Stored(
        none if whole is None else whole,
        fragments,
        combination_norms(fragments, k),
        np.zeros((len(fragments), 0, fragments.shape[2]), np.float32),
        alive,
    )


def random_fragments(seed: int, rows: int, n: int, dimension: int) -> Vectors:
    rng = np.random.default_rng(seed)
    topic = rng.normal(size=(rows, 1, dimension))
    return unit(topic + rng.normal(size=(rows, n, dimension)))


def naive_scores(fragments: Vectors, k: int, query: Vectors) -> NDArray[np.float64]:
    """The cosine of every combination's mean, by making the mean: shape (combinations, rows)."""
    means = [
        fragments[:, list(c)].astype(np.float64).mean(axis=1)
        for c in combinations(range(fragments.shape[1]), k)
    ]
    return np.array([(m @ query.astype(np.float64)) / np.linalg.norm(m, axis=1) for m in means])


@dataclass
class Countdown:
    """Counts of words as vectors, so that cosines can be told by hand; counts what it encodes."""

    dimension: int = 256
    encoded: int = 0

    @property
    def identity(self) -> str:
        return f"words:{self.dimension}"

    def encode(self, texts: Sequence[str], *, role: TextRole = TextRole.DOCUMENT) -> Vectors:
        self.encoded += len(texts)
        rows = np.zeros((len(texts), self.dimension))
        for row, text in zip(rows, texts, strict=True):
            for word in re.findall(r"\w+", text.lower()) or [text]:
                row[zlib.crc32(word.encode(errors="surrogatepass")) % self.dimension] += 1
        return unit(rows)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in re.finditer(r"\S+", text)]

    @property
    def mask_text(self) -> str | None:
        return "[MASK]"


def query(encoder: Countdown, text: str) -> Query:
    return Query(text, encoder.encode([text])[0])


def hits_of(encoder: Countdown, asked: Query, texts: Sequence[str], *, vectors: bool = True) -> list[Hit]:
    """What a plain search over `texts` returns, all of them."""
    rows = encoder.encode(list(texts))
    scores = similarities(rows, asked.vector)
    return [
        Hit(Document(str(i), texts[i]), float(scores[i]), vector=rows[i] if vectors else None)
        for i in np.argsort(-scores, kind="stable")
    ]


def ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.document.id for hit in hits]


def suspects(hits: Sequence[Hit]) -> set[str]:
    return {hit.document.id for hit in hits if hit.suspicious}


def flagged(hit: Hit, suspicious: bool = True) -> Hit:
    return Hit(hit.document, hit.score, (Reason("test", suspicious, "because"),), hit.vector)
