"""Whatever an encoder returns, made unit vectors or refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mithridate.core.errors import EncoderError
from mithridate.retrieval.base import Vectors

_SHOWN = 60


def unit_rows(found: Any, texts: Sequence[str], name: str, dimension: int | None = None) -> Vectors:
    """`found` as float32 rows of length 1, shape (len(texts), dimension).

    Raises EncoderError, naming the text, for a vector that is not finite or is zero; and for a shape that is
    not one row a text of `dimension` numbers (of any number where that is None).
    """
    try:
        # In double precision: the length of a vector near the float32 limits must not overflow.
        rows = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise EncoderError(f"encoder {name!r} returned no array of numbers: {error}") from error
    if not texts and rows.size == 0:
        return np.zeros((0, dimension or 0), np.float32)
    wanted = "any dimension" if dimension is None else f"dimension {dimension}"
    if (
        rows.ndim != 2
        or len(rows) != len(texts)
        or not rows.shape[1]
        or dimension not in (None, rows.shape[1])
    ):
        raise EncoderError(
            f"encoder {name!r} returned the shape {rows.shape} for {len(texts)} texts; "
            f"expected one row a text, of {wanted}"
        )
    _refuse(~np.isfinite(rows).all(axis=1), texts, name, "is not finite; a lower precision may overflow")
    largest = np.abs(rows).max(axis=1, keepdims=True)
    _refuse(largest[:, 0] == 0, texts, name, "is zero, so it has no direction; leave such texts out")
    rows /= largest
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def _refuse(bad: Any, texts: Sequence[str], name: str, problem: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        text = texts[row]
        shown = repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
        raise EncoderError(f"encoder {name!r}: the vector of text {row} ({shown}) {problem}")
