"""Small corpora and encoders for tests of encoders and indexes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mithridate.core.types import Document
from mithridate.retrieval.base import TextRole, Vectors
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.guard import Answer

_TEXT = """
river stone amber lantern orchard violin harbour thistle copper meadow glacier falcon cinder barley
compass willow ember quarry saffron pepper anchor velvet walnut heron marble clover beacon tundra
"""
WORDS = _TEXT.split()


def some_documents(n: int, words: int = 30, seed: int = 0) -> list[Document]:
    rng = random.Random(seed)
    return [
        Document(f"d{i}", " ".join(rng.choices(WORDS, k=words)) + f" number{i}", {"source": f"s{i % 3}"})
        for i in range(n)
    ]


class CountingEncoder(HashingEncoder):
    """Counts the texts that it is asked for, and remembers them."""

    def __init__(self, dimension: int = 64) -> None:
        super().__init__(dimension)
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str], *, role: TextRole = TextRole.DOCUMENT) -> Vectors:
        self.seen += texts
        return super().encode(texts, role=role)


class Plainest:
    """The least that an encoder can be: lists of numbers that are no unit vectors."""

    def __init__(self, scale: float = 3.0) -> None:
        self.scale = scale
        self.batches: list[int] = []

    def encode(self, texts: list[str]) -> list[list[float]]:
        self.batches.append(len(texts))
        return [[self.scale * len(text), self.scale, text.count("a")] for text in texts]


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "run.lock"
    }


def lengths(rows: Vectors) -> Vectors:
    return np.asarray(np.linalg.norm(rows, axis=1), np.float32)


def told(answers: Answer | Sequence[Answer]) -> list[Any]:
    """All that answers say, without the vectors of hits, which cannot be compared by `==`.

    Scores are rounded: a matrix product sums in another order where it has other rows.
    """
    some = [answers] if isinstance(answers, Answer) else answers
    return [
        (
            [
                (hit.document, round(hit.score, 5), [(r.defense, r.suspicious, r.says) for r in hit.reasons])
                for hit in (*answer.hits, *answer.removed)
            ],
            len(answer.hits),
            answer.warnings,
        )
        for answer in some
    ]
