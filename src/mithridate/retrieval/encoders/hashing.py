"""An encoder without a model: words and their parts, hashed into a fixed number of places.

It finds exact words and near spellings. It knows no meanings, and a fragment looks little like its document,
so RAGPart does not apply (the crop check says so). It serves tests, examples and a first try.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mithridate.core.errors import EncoderError
from mithridate.retrieval.base import TextRole, Vectors
from mithridate.retrieval.encoders.texts import readable, word_spans

_WORD: Final = re.compile(r"\w+")
_PART_CHARACTERS: Final = 4
_PART_WEIGHT: Final = 0.2
_LONGEST_WEIGHED: Final = 8
_SIGN: Final = 1 << 31

_Counts: TypeAlias = NDArray[np.float64]


class HashingEncoder:
    """Signed feature hashing of the words of a text and of runs of four characters in them.

    How often a word comes is left out, and long words weigh more: both keep function words small. A text
    without a word is encoded as its characters, and an empty one as a fixed vector, so that no vector is
    zero. Both roles are encoded alike. Nothing depends on the process: CRC-32 is the hash.
    """

    def __init__(self, dimension: int = 256) -> None:
        if dimension < 2:
            raise EncoderError(f"a hashing encoder needs a dimension of at least 2, not {dimension}")
        self.dimension = dimension
        self.identity = f"hashing:1:{dimension}"

    def encode(self, texts: Sequence[str], *, role: TextRole = TextRole.DOCUMENT) -> Vectors:  # noqa: ARG002
        """One unit row a text, shape (len(texts), dimension)."""
        rows = np.zeros((len(texts), self.dimension))
        for row, text in zip(rows, texts, strict=True):
            row[:] = _row(readable(text), self.dimension)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The words of the text."""
        return word_spans(text)

    @property
    def mask_text(self) -> str | None:
        """None: it has no mask token."""
        return None


def _row(text: str, dimension: int) -> _Counts:
    """The features of `text` added up; never zero."""
    words = dict.fromkeys(_WORD.findall(text.lower())) or dict.fromkeys(text)
    features = [*map(_features, words)]
    if not features:
        features = [(np.zeros(1, np.int64), np.ones(1))]  # an empty text: one feature, always the same
    codes, weights = zip(*features, strict=True)
    placed = np.concatenate(codes) % dimension
    row: _Counts = np.bincount(placed, np.concatenate(weights), dimension).astype(np.float64)
    if not row.any():
        row[0] = 1.0
    return row


# Few words make up most of any text.
@lru_cache(maxsize=1 << 16)
def _features(word: str) -> tuple[NDArray[np.int64], _Counts]:
    """The hash and the signed weight of a word and of each of its parts."""
    weight = float(min(len(word), _LONGEST_WEIGHED))
    marked = f"^{word}$"
    parts = len(marked) - _PART_CHARACTERS + 1
    features = [(word, weight)]
    for start in range(parts):
        part = marked[start : start + _PART_CHARACTERS]
        features.append((part, _PART_WEIGHT * weight / math.sqrt(parts)))
    codes = [zlib.crc32(feature.encode()) for feature, _ in features]
    weights = [w if code & _SIGN else -w for code, (_, w) in zip(codes, features, strict=True)]
    return np.array(codes, np.int64), np.array(weights)
