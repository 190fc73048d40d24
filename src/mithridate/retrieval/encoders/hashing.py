"""An encoder without a model: words and their parts, hashed into a fixed number of places.

It finds exact words and near spellings. It knows no meanings, and a fragment looks little like its document,
so RAGPart does not apply (the crop check says so). It serves tests, examples and a first try.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
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
            _add_all(readable(text), row)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The words of the text."""
        return word_spans(text)

    @property
    def mask_text(self) -> str | None:
        """None: it has no mask token."""
        return None


def _add_all(text: str, row: _Counts) -> None:
    """Add the features of `text` to `row`; afterwards it is not zero."""
    words = dict.fromkeys(_WORD.findall(text.lower())) or dict.fromkeys(text)
    for word in words:
        weight = float(min(len(word), _LONGEST_WEIGHED))
        _add(word, weight, row)
        marked = f"^{word}$"
        parts = len(marked) - _PART_CHARACTERS + 1
        for start in range(parts):
            _add(marked[start : start + _PART_CHARACTERS], _PART_WEIGHT * weight / math.sqrt(parts), row)
    if not row.any():
        row[0] = 1.0


def _add(feature: str, weight: float, row: _Counts) -> None:
    code = zlib.crc32(feature.encode())
    row[code % len(row)] += weight if code & _SIGN else -weight
