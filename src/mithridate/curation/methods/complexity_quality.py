"""Deita's choice (Liu et al. 2312.15685): the best by complexity times quality, none too near to one before.

The scores are the proxies of `scores.py`, not those of tuned models.
"""

from __future__ import annotations

from typing import ClassVar, Final

import numpy as np
from pydantic import Field

from mithridate.curation.pool import Doubles, MethodOptions, Pool, Rows, Selection
from mithridate.curation.vectors import Floats

_AT_ONCE: Final = 512


class ComplexityQualityOptions(MethodOptions):
    """`similarity`: the cosine to a chosen one from which on an example is too near. Deita's is 0.9."""

    similarity: float = Field(0.9, gt=0, le=1)


class ComplexityQuality:
    """Quality filters, then by score, passing over what is too near to the chosen."""

    name: ClassVar[str] = "complexity-quality"
    filtered: ClassVar[bool] = True
    options_type: ClassVar[type[MethodOptions]] = ComplexityQualityOptions
    says: ClassVar[str] = "quality filters, then complexity x quality (word counts), none too near"

    def choose(self, pool: Pool, n: int, options: MethodOptions) -> Selection:
        """By falling score. Where too few are far enough apart, the best of the near ones fill up."""
        assert isinstance(options, ComplexityQualityOptions)
        order = np.argsort(-pool.scores, kind="stable")
        chosen, near = _apart(pool, order, n, options.similarity)
        left_for = np.zeros(len(pool), np.int8)
        left_for[near] = 1
        why = [f"number {place:,} by score of those far enough apart" for place in range(1, len(chosen) + 1)]
        filled = near[: n - len(chosen)]
        why += [f"too few are below a similarity of {options.similarity:g}: the best of the rest"] * len(
            filled
        )
        return Selection(
            np.array([*chosen, *filled], np.int64),
            tuple(why),
            pool.scores,
            ("others have a higher score", f"similarity of {options.similarity:g} or more to a better one"),
            left_for,
            notes={"filled up": float(len(filled))},
        )


def _apart(pool: Pool, order: Rows, n: int, similarity: float) -> tuple[list[int], list[int]]:
    """Rows by score that are far enough from those before, `n` at most, and those passed over on the way.

    The cost is the rows that are looked at times the chosen times the dimension.
    """
    # Vectors on the grid are of nearly one length; what counts is the cosine, from the exact dot product.
    centres: Floats = np.zeros((n, pool.vectors.shape[1]), np.float32)
    lengths = np.zeros(n)
    chosen: list[int] = []
    near: list[int] = []
    for start in range(0, len(order), _AT_ONCE):
        part = order[start : start + _AT_ONCE]
        rows = pool.vectors[part].astype(np.float32)
        long = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
        before = len(chosen)
        closest = _closest(rows, long, centres[:before], lengths[:before])
        for i, row in enumerate(part.tolist()):
            if len(chosen) == n:
                return chosen, near
            since = slice(before, len(chosen))
            fresh = _closest(rows[i : i + 1], long[i : i + 1], centres[since], lengths[since])
            if max(closest[i], fresh[0]) >= similarity:
                near.append(row)
                continue
            centres[len(chosen)], lengths[len(chosen)] = rows[i], long[i]
            chosen.append(row)
    return chosen, near


def _closest(rows: Floats, long: Doubles, centres: Floats, lengths: Doubles) -> Doubles:
    """The greatest cosine of each row to the centres; -1 where there are none."""
    if not len(centres):
        return np.full(len(rows), -1.0)
    cosines = (rows @ centres.T).astype(np.float64) / long[:, None] / lengths[None, :]
    return np.asarray(cosines.max(axis=1))
