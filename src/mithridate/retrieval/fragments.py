"""Documents cut into fragments, and fragments put together again in every combination."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np

from mithridate.core.errors import ConfigError
from mithridate.retrieval.base import Vectors

_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Kana and Han: scripts in which a character is about as much as a word elsewhere."""

_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]{{1,20}}")
"""A run without white space, cut after 20 characters: a text that leaves white space out, be it to escape,
would else be one word, and so its own fragment."""

_MOST_COMBINATIONS = 10_000
_ROWS_AT_ONCE = 1024


def fragments(text: str, n: int) -> list[str]:
    """`text` in `n` contiguous pieces, whose numbers of words differ by at most one, the longer ones first.

    Joined they hold every word of the text; only white space between two fragments is lost. A text of fewer
    than `n` words cannot be cut: each of its fragments is the whole text.
    """
    words = [match.span() for match in _WORD.finditer(text)]
    if len(words) < n or n == 1:
        return [text] * n
    size, longer = divmod(len(words), n)
    ends = [size * (i + 1) + min(i + 1, longer) for i in range(n)]
    return [
        text[words[first][0] : words[last - 1][1]] for first, last in zip([0, *ends[:-1]], ends, strict=True)
    ]


def rejoined(pieces: Sequence[str], k: int) -> list[str]:
    """The text of every combination of `k` fragments, in the order of `itertools.combinations`."""
    return [" ".join(chosen) for chosen in combinations(pieces, k)]


def check_combinations(n: int, k: int) -> None:
    """Raise ConfigError unless 1 <= k <= n, with no more combinations than can be kept for each document."""
    if not 1 <= k <= n:
        raise ConfigError(
            f"combination is {k} and fragments {n}; a combination takes between 1 and all fragments"
        )
    if math.comb(n, k) > _MOST_COMBINATIONS:
        raise ConfigError(
            f"{k} of {n} fragments make {math.comb(n, k)} combinations for each document; "
            f"at most {_MOST_COMBINATIONS} are supported"
        )


@lru_cache(maxsize=8)
def membership(n: int, k: int) -> Vectors:
    """Which of `n` fragments each combination of `k` takes: ones and zeros, shape (C(n, k), n)."""
    check_combinations(n, k)
    table = np.zeros((math.comb(n, k), n), np.float32)
    for row, chosen in zip(table, combinations(range(n), k), strict=True):
        row[list(chosen)] = 1
    table.setflags(write=False)
    return table


def combination_norms(fragment_vectors: Vectors, k: int) -> Vectors:
    """The length of the mean of each combination of `k` fragments.

    `fragment_vectors` are unit vectors of shape (n, N, dimension); the result has the shape (n, C(N, k)), in
    the order of `itertools.combinations`. With these lengths, and the similarity of each fragment to a query,
    the similarity of any mean is known: means need not be stored.
    """
    rows, n, _ = fragment_vectors.shape
    table = membership(n, k).astype(np.float64)
    norms = np.ones((rows, len(table)), np.float32)
    if k == 1:
        return norms  # Unit vectors; to compute their length would only add a rounding error.
    for start in range(0, rows, _ROWS_AT_ONCE):
        block = np.asarray(fragment_vectors[start : start + _ROWS_AT_ONCE], np.float64)
        products = block @ block.transpose(0, 2, 1)
        squared = ((table @ products) * table).sum(axis=-1) / k**2
        norms[start : start + len(block)] = np.sqrt(np.maximum(squared, 0))
    return norms
