"""Which rows a step trains on: always the next ones, in their order, going round again after the last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from mithridate.core.errors import TrainingError
from mithridate.training.options import PretrainingOptions


class Rows(Protocol):
    """Packed token ids, of shape (rows, row_tokens), readable in slices; a memory-mapped array is one."""

    def __len__(self) -> int: ...
    def __getitem__(self, which: slice, /) -> npt.NDArray[Any]: ...


class Batches:
    """The batches of a pretraining, found again from the number of a step alone.

    In several processes each takes its share of every batch; a last batch that is not full is then left
    out, because gradients are averaged over processes as if each held as many rows.
    """

    def __init__(
        self, rows: Rows, options: PretrainingOptions, *, vocabulary: int, rank: int, world: int
    ) -> None:
        self._check(rows, options)
        if options.batch_rows % (world * options.accumulation):
            raise TrainingError(
                f"batch_rows {options.batch_rows} cannot be shared out among {world} processes "
                f"in {options.accumulation} parts each: make it a multiple of {world * options.accumulation}"
            )
        self._rows, self._size, self._vocabulary = rows, options.batch_rows, vocabulary
        self._accumulation, self._rank, self._world = options.accumulation, rank, world
        self._total = options.rows_of(len(rows))
        self.steps = -(-self._total // self._size) if world == 1 else max(1, self._total // self._size)

    @staticmethod
    def _check(rows: Rows, options: PretrainingOptions) -> None:
        if len(rows) == 0:
            raise TrainingError(
                f"there is not one row of {options.row_tokens} tokens to pretrain on: "
                "enlarge the corpus or lower row_tokens"
            )
        width = rows[0:1].shape[1]
        if width != options.row_tokens:
            raise TrainingError(
                f"the rows hold {width} tokens each, but row_tokens is {options.row_tokens}: pack them again"
            )

    def fingerprint(self) -> str:
        """A hash of the number of rows, the first and the last."""
        last = len(self._rows) - 1
        ends = np.concatenate([self._rows[0:1], self._rows[last : last + 1]]).astype("<i8")
        return hashlib.sha256(f"{last + 1}\x1f".encode() + ends.tobytes()).hexdigest()[:16]

    def tokens_by(self, step: int) -> int:
        """Tokens seen by all processes after `step` steps."""
        rows = min(step * self._size, self._total) if self._world == 1 else step * self._size
        return rows * int(self._rows[0:1].shape[1])

    def parts(self, step: int) -> Iterator[tuple[torch.Tensor, float]]:
        """The parts of this process's share of a batch, as int64 (rows, row_tokens), with their weights.

        Raises TrainingError at a token that the vocabulary does not hold.
        """
        start = step * self._size
        stop = start + self._size if self._world > 1 else min(start + self._size, self._total)
        batch = self._take(start, stop)[self._rank :: self._world]
        if batch.size and (batch.max() >= self._vocabulary or batch.min() < 0):
            raise TrainingError(
                f"step {step + 1} meets token {batch.max()}, but the model knows only {self._vocabulary}: "
                "pack the corpus with the tokenizer of this model"
            )
        stride = max(1, -(-len(batch) // self._accumulation))
        for first in range(0, len(batch), stride):
            part = batch[first : first + stride]
            yield torch.from_numpy(part), len(part) / len(batch)

    def _take(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        n = len(self._rows)
        pieces = []
        while start < stop:
            at = start % n
            count = min(stop - start, n - at)
            pieces.append(self._rows[at : at + count])
            start += count
        return np.ascontiguousarray(np.concatenate(pieces) if len(pieces) > 1 else pieces[0], dtype=np.int64)
