"""Which examples say the same again: to the letter, or nearly, by MinHash signatures.

Exact duplicates are found by sorting, near ones by locality-sensitive hashing (Indyk and Motwani 1998): two
whose signatures agree on one of 16 bands of four places are compared. At a similarity of 0.8 a pair is missed
three times in ten thousand. The cost grows as the number of examples, whatever the number of duplicates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mithridate.curation.signatures import PLACES, Signatures

BANDS: Final = 16
_WIDTH: Final = PLACES // BANDS
_ROUNDS: Final = 6
"""How many members of a bucket all others of it are compared with. A bucket of more kinds than that holds
what shares four places by chance; true duplicates meet in other buckets too."""
_AT_ONCE: Final = 1 << 16

_Rows: TypeAlias = NDArray[np.int64]
_Mix: Final = np.uint64(0x9E3779B97F4A7C15)


def exact_duplicates(digests: NDArray[np.uint64], order: _Rows) -> _Rows:
    """For each row, the row that it repeats, or -1; of equal ones the first of `order` repeats none."""
    found = np.full(len(digests), -1, np.int64)
    ordered = digests[order]
    by_digest = order[np.argsort(ordered, kind="stable")]
    same = digests[by_digest]
    begins = np.flatnonzero(np.concatenate([[True], same[1:] != same[:-1]])) if len(same) else by_digest
    lengths = np.diff(np.append(begins, len(same)))
    leaders = np.repeat(by_digest[begins], lengths)
    repeats = by_digest != leaders
    found[by_digest[repeats]] = leaders[repeats]
    return found


def near_duplicates(signatures: Signatures, similarity: float) -> _Rows:
    """For each row, an earlier row that it nearly repeats and that repeats none itself, or -1.

    Rows are to come in the order in which they are to be kept. `similarity` is the share of places on which
    two signatures must agree.
    """
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *_alike(signatures, similarity)])
    found = np.full(len(signatures), -1, np.int64)
    if not len(pairs):
        return found
    later, earlier = pairs.max(axis=1), pairs.min(axis=1)
    order = np.lexsort((earlier, later))
    repeats: dict[int, int] = {}
    # In their order, so that it is settled of each earlier one whether it stays.
    for row, other in zip(later[order].tolist(), earlier[order].tolist(), strict=True):
        if row not in repeats and other not in repeats:
            repeats[row] = other
    found[list(repeats)] = list(repeats.values())
    return found


def _alike(signatures: Signatures, similarity: float) -> Iterator[NDArray[np.int64]]:
    """Pairs of rows that are alike, shape (n, 2), some of them more than once."""
    for band in range(BANDS):
        rows, buckets = _buckets(signatures[:, band * _WIDTH : (band + 1) * _WIDTH])
        for _ in range(_ROUNDS):
            if not len(rows):
                break
            begins = np.flatnonzero(np.concatenate([[True], buckets[1:] != buckets[:-1]]))
            sizes = np.diff(np.append(begins, len(rows)))
            leaders = np.repeat(rows[begins], sizes)
            alike = _agree(signatures, rows, leaders, similarity)
            is_leader = np.zeros(len(rows), bool)
            is_leader[begins] = True
            yield np.stack([rows, leaders], axis=1)[alike & ~is_leader]
            # Those that are unlike their leader may be alike among themselves.
            left = ~alike & ~is_leader
            rows, buckets = _shared(rows[left], buckets[left])


def _buckets(band: Signatures) -> tuple[_Rows, NDArray[np.uint64]]:
    """Rows that share a bucket with others, bucket by bucket and in their order, and the bucket of each."""
    keys = np.zeros(len(band), np.uint64)
    for column in band.T:
        keys = (keys ^ column) * _Mix
        keys ^= keys >> np.uint64(31)
    rows = np.argsort(keys, kind="stable").astype(np.int64)
    return _shared(rows, keys[rows])


def _shared(rows: _Rows, buckets: NDArray[np.uint64]) -> tuple[_Rows, NDArray[np.uint64]]:
    """Without those that are alone in their bucket."""
    if not len(rows):
        return rows, buckets
    same = buckets[1:] == buckets[:-1]
    kept = np.concatenate([[False], same]) | np.concatenate([same, [False]])
    return rows[kept], buckets[kept]


def _agree(signatures: Signatures, rows: _Rows, others: _Rows, similarity: float) -> NDArray[np.bool_]:
    found = np.zeros(len(rows), bool)
    for start in range(0, len(rows), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        places = (signatures[rows[part]] == signatures[others[part]]).sum(axis=1)
        found[part] = places >= similarity * PLACES
    return found
