"""Two checkpoints read side by side, a block of each at a time; the next is read while one is worked on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from mithridate.core.errors import CheckpointError
from mithridate.localization.pairing import TensorPair
from mithridate.localization.tensor_files import StoredTensor

BLOCK = 2**20
"""Numbers of a block: large enough that calls cost nothing, small enough for the caches of a processor."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A run of numbers of one pair, of the same length on both sides."""

    pair: int
    start: int
    count: int


class Reader:
    """Reads tensors by their place in files, which stay open until the block ends.

    Read and not mapped: the pages of a mapped file would count as memory of this process, and one that is
    cut short meanwhile would kill it.
    """

    def __init__(self) -> None:
        self._open: dict[Path, int] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, stored: StoredTensor, start: int, into: torch.Tensor) -> None:
        """Fill `into`, flat and of the type of `stored`, with its numbers from `start` on.

        Raises CheckpointError if the file cannot be read or is shorter than it was.
        """
        size = stored.dtype.itemsize
        place = stored.begin + start * size
        left = into.view(torch.uint8).numpy().data
        try:
            file = self._file(stored.path)
            while left:
                got = os.preadv(file, [left], place)
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

    def _file(self, path: Path) -> int:
        if path not in self._open:
            self._open[path] = self._stack.enter_context(path.open("rb", buffering=0)).fileno()
        return self._open[path]


def paired_blocks(
    pairs: Sequence[TensorPair], block: int = BLOCK
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """Each pair in its order, in blocks of at most `block` numbers: its place, and both sides, flat.

    The two tensors have the types that the files have, and hold until the next is asked for. Raises
    CheckpointError as `Reader.read` does.
    """
    with Reader() as reader, ThreadPoolExecutor(1) as ahead:
        slots = [_buffers(pairs, block) for _ in range(2)]

        def fetch(piece: _Piece, slot: int) -> tuple[int, torch.Tensor, torch.Tensor]:
            pair = pairs[piece.pair]
            filled = []
            for stored, buffer in zip((pair.base, pair.aligned), slots[slot], strict=True):
                into = buffer[: piece.count * stored.dtype.itemsize].view(stored.dtype)
                reader.read(stored, piece.start, into)
                filled.append(into)
            return piece.pair, filled[0], filled[1]

        pending = None
        for number, piece in enumerate(_pieces(pairs, block)):
            coming = ahead.submit(fetch, piece, number % 2)
            if pending is not None:
                yield pending.result()
            pending = coming
        if pending is not None:
            yield pending.result()


def _buffers(pairs: Iterable[TensorPair], block: int) -> tuple[torch.Tensor, torch.Tensor]:
    widest = max((stored.dtype.itemsize for pair in pairs for stored in (pair.base, pair.aligned)), default=1)
    base, aligned = (torch.empty(block * widest, dtype=torch.uint8) for _ in range(2))
    return base, aligned


def _pieces(pairs: Sequence[TensorPair], block: int) -> Iterator[_Piece]:
    for number, pair in enumerate(pairs):
        for start in range(0, pair.count, block):
            yield _Piece(number, start, min(block, pair.count - start))
