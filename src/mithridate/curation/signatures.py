"""MinHash signatures (Broder 1997) of many texts at once: 64 numbers that tell how alike two texts are.

Two signatures agree at as many of their places, on average, as the texts share of their runs of three words
(Jaccard similarity). datasketch computes the same, one run of words at a time in Python; a million examples
need whole arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

PLACES: Final = 64
RUN: Final = 3
_MOST_WORDS: Final = 1 << 19

Signatures: TypeAlias = NDArray[np.uint32]
_Hashes: TypeAlias = NDArray[np.uint64]

_RNG: Final = np.random.Generator(np.random.PCG64(3))
_SALTS: Final[_Hashes] = _RNG.integers(0, 1 << 64, PLACES, np.uint64)
_STOPS: Final[_Hashes] = np.zeros(RUN - 1, np.uint64)
_NO_WORD: Final[_Hashes] = np.ones(1, np.uint64)
_FACTORS: Final[_Hashes] = _RNG.integers(0, 1 << 64, PLACES, np.uint64) | np.uint64(1)


class _WordHashes(dict[str, int]):
    """Words and their hashes, looked up at the speed of a dictionary."""

    def __missing__(self, word: str) -> int:
        found = self[word] = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big")
        return found


class Signer:
    """Makes signatures; it remembers the hashes of words that it has met, up to half a million."""

    def __init__(self) -> None:
        self._known = _WordHashes()

    def sign(self, texts: Sequence[Sequence[str]]) -> Signatures:
        """One row a text, given as its words, shape (len(texts), 64). A text without words signs as none."""
        if len(self._known) > _MOST_WORDS:
            self._known.clear()
        if not texts:
            return np.zeros((0, PLACES), np.uint32)
        look_up = self._known.__getitem__
        hashes = [
            np.fromiter(map(look_up, words), np.uint64, len(words)) if words else _NO_WORD for words in texts
        ]
        # Two stops behind each text, so that no run reaches into the next, and one word alone is a run.
        runs = _runs(np.concatenate([part for words in hashes for part in (words, _STOPS)]))
        lengths = np.fromiter(map(len, hashes), np.int64, len(hashes))
        return _minima(runs, np.cumsum(lengths) - lengths)


def _runs(words: _Hashes) -> _Hashes:
    """A hash of the three words from each word on; none begins with a stop."""
    padded = np.concatenate([words, _STOPS])
    first, second, third = (padded[i : i + len(words)] for i in range(RUN))
    mixed = first * np.uint64(0x9E3779B97F4A7C15) ^ _turned(second, 21) * np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= _turned(third, 42) * np.uint64(0x165667B19E3779F9)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    begun: _Hashes = mixed[words != 0]
    return begun


def _turned(values: _Hashes, by: int) -> _Hashes:
    return (values << np.uint64(by)) | (values >> np.uint64(64 - by))


def _minima(runs: _Hashes, starts: NDArray[np.int64]) -> Signatures:
    found = np.zeros((len(starts), PLACES), np.uint32)
    for place in range(PLACES):
        moved = (runs ^ _SALTS[place]) * _FACTORS[place]
        found[:, place] = np.minimum.reduceat(moved, starts) >> np.uint64(32)
    return found
