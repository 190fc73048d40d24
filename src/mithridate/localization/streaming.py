"""Two checkpoints read side by side, a block of each at a time, by as many threads as there are cores."""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from mithridate.core.errors import CheckpointError
from mithridate.localization.pairing import TensorPair
from mithridate.localization.tensor_files import StoredTensor

BLOCK = 2**18
"""Numbers of a block: large enough that calls cost little, small enough for the cache of one core."""
# To hand work to a thread costs a good part of comparing a block, so each is handed several at once.
_TOGETHER = 16
# For each thread, how many such handfuls are asked for ahead of what was done.
_AHEAD = 2

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A run of numbers of one pair, of the same length on both sides."""

    pair: int
    start: int
    count: int


class Reader:
    """Reads the tensors of pairs by their place in files, which are open until the block of code ends.

    Read and not mapped: the pages of a mapped file would count as memory of this process, and one that is
    cut short meanwhile would kill it.
    """

    def __init__(self, pairs: Iterable[TensorPair]) -> None:
        self._paths = sorted({side.path for pair in pairs for side in (pair.base, pair.aligned)})
        self._open: dict[Path, int] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Reader:
        for path in self._paths:
            try:
                file = self._stack.enter_context(path.open("rb", buffering=0))
            except OSError as error:
                self._stack.close()
                raise CheckpointError(f"{path}: cannot be read: {error}") from error
            self._open[path] = file.fileno()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, stored: StoredTensor, start: int, into: torch.Tensor) -> None:
        """Fill the bytes of `into`, which is flat, with the numbers of `stored` from number `start` on.

        Raises CheckpointError if the file cannot be read or is shorter than it was.
        """
        size = stored.dtype.itemsize
        place = stored.begin + start * size
        left = into.view(torch.uint8).numpy().data
        try:
            while left:
                got = os.preadv(self._open[stored.path], [left], place)
                if not got:
                    raise CheckpointError(f"{stored.path}: ends before its tensors do; copy it again")
                left, place = left[got:], place + got
        except OSError as error:
            raise CheckpointError(f"{stored.path}: cannot be read: {error}") from error

    def whole(self, stored: StoredTensor, shape: Sequence[int]) -> torch.Tensor:
        """The first numbers of a tensor, as many as `shape` has, in that shape and their own type."""
        flat = torch.empty(int(torch.Size(shape).numel()), dtype=stored.dtype)
        self.read(stored, 0, flat)
        return flat.reshape(tuple(shape))


def map_blocks(
    pairs: Sequence[TensorPair],
    work: Callable[[int, torch.Tensor, torch.Tensor], Result],
    block: int = BLOCK,
) -> Iterator[tuple[int, Result]]:
    """Have `work` done on every pair, at most `block` numbers of each side at a time.

    `work` gets the place of the pair and both sides, flat and of the types that the files have, which hold
    until it returns. Each of as many threads as torch computes with reads a block and works on it while it is
    in the cache of its core; torch itself computes with one thread each as long as this goes on. Yields
    places and results in the order of the pairs and their blocks, whichever thread was first. Raises
    CheckpointError as `Reader.read` does.
    """
    widest = max((side.dtype.itemsize for pair in pairs for side in (pair.base, pair.aligned)), default=1)
    room = _Room(block * widest)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with Reader(pairs) as reader, ThreadPoolExecutor(threads) as pool:

            def done(piece: _Piece) -> tuple[int, Result]:
                pair, sides = pairs[piece.pair], []
                for stored, buffer in zip((pair.base, pair.aligned), room.sides, strict=True):
                    into = buffer[: piece.count * stored.dtype.itemsize].view(stored.dtype)
                    reader.read(stored, piece.start, into)
                    sides.append(into)
                return piece.pair, work(piece.pair, *sides)

            for results in _in_order(pool, done, _pieces(pairs, block), _AHEAD * threads):
                yield from results
    finally:
        torch.set_num_threads(threads)


class _Room(threading.local):
    """A buffer for each side; every thread has its own."""

    def __init__(self, size: int) -> None:
        self.sides = torch.empty((2, size), dtype=torch.uint8)


def _pieces(pairs: Sequence[TensorPair], block: int) -> Iterator[_Piece]:
    for number, pair in enumerate(pairs):
        for start in range(0, pair.count, block):
            yield _Piece(number, start, min(block, pair.count - start))


def _in_order(
    pool: ThreadPoolExecutor, done: Callable[[_Piece], Result], pieces: Iterator[_Piece], ahead: int
) -> Iterator[list[Result]]:
    """What the pool's own `map` gives, in handfuls, without asking for everything at once."""
    handfuls = iter(lambda: list(itertools.islice(pieces, _TOGETHER)), [])

    def all_done(handful: Sequence[_Piece]) -> list[Result]:
        return [done(piece) for piece in handful]

    coming = deque(pool.submit(all_done, handful) for handful in itertools.islice(handfuls, ahead))
    try:
        while coming:
            yield coming.popleft().result()
            coming.extend(pool.submit(all_done, handful) for handful in itertools.islice(handfuls, 1))
    finally:
        for future in coming:
            future.cancel()
