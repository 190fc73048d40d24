"""Long encodings in pieces, so that they can be watched and memory stays bounded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from mithridate.retrieval.base import Encoder, TextRole, Vectors

Progress: TypeAlias = Callable[[int, int | None], object]
"""Called with how many are done, and of how many where that is known."""

# Encoders sort what they get by length before they batch it; pieces must leave them something to sort.
TEXTS_AT_ONCE = 512


def encode_in_batches(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    role: TextRole = TextRole.DOCUMENT,
    progress: Progress | None = None,
    at_once: int = TEXTS_AT_ONCE,
) -> Vectors:
    """The vectors of `texts`, shape (len(texts), dimension), telling `progress` after each piece."""
    rows = np.zeros((len(texts), encoder.dimension), np.float32)
    for start in range(0, len(texts), at_once):
        piece = texts[start : start + at_once]
        rows[start : start + len(piece)] = encoder.encode(piece, role=role)
        if progress is not None:
            progress(start + len(piece), len(texts))
    return rows
