"""Queries in three bands, by how long the documents are that matter to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Generic, Protocol, TypeVar

import numpy as np


class HasWords(Protocol):
    """A row with the number of words that it is banded by."""

    @property
    def words(self) -> float | None:
        """The number, or None for a row that belongs to no band."""


R = TypeVar("R", bound=HasWords)


@dataclass(frozen=True, slots=True)
class Band(Generic[R]):
    """Rows whose documents have between `least` and `most` words, both among them."""

    least: float
    most: float
    rows: list[R]


def words(texts: Sequence[str]) -> float:
    """The mean number of words, parted by white space, of `texts`, of which there must be one."""
    return fmean(len(text.split()) for text in texts)


def tertiles(rows: Sequence[R]) -> list[Band[R]]:
    """The rows in three bands at the tertiles of their words, shortest first.

    Rows of as many words are never parted, so bands may differ in size, and those that stay empty are left
    out: a single band where all are alike.
    """
    counted = [(row.words, row) for row in rows if row.words is not None]
    if not counted:
        return []
    first, second = np.quantile([count for count, _ in counted], [1 / 3, 2 / 3], method="lower")
    bands = [
        [(count, row) for count, row in counted if count <= first],
        [(count, row) for count, row in counted if first < count <= second],
        [(count, row) for count, row in counted if count > second],
    ]
    return [
        Band(min(count for count, _ in band), max(count for count, _ in band), [row for _, row in band])
        for band in bands
        if band
    ]
