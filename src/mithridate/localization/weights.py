"""What alignment moved in the weights, tensor by tensor: how far, which share, along how many directions.

The size of a change is not its importance: transplanting layers asks for that.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from mithridate.core.errors import CheckpointError, ConfigError
from mithridate.localization.pairing import TensorPair, pair_up
from mithridate.localization.spectra import NO_SPECTRUM, Spectrum, SpectrumOptions, spectrum_of
from mithridate.localization.streaming import BLOCK, Reader, map_blocks
from mithridate.localization.tensor_files import StoredCheckpoint, open_checkpoint
from mithridate.models.checkpoints import has_tokenizer, load_tokenizer
from mithridate.models.vocabulary import require_same_vocabulary

Floats: TypeAlias = npt.NDArray[np.float32]

# Products of rows so short are not spread over threads by the BLAS beneath numpy, where they would wait for
# each other: every thread here has work of its own. Rows are summed in double precision.
_ROW = 8192
# From fine to coarse: bf16 has fewer digits than fp16.
_COARSENESS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class MatrixShift:
    """How one tensor changed from `base` to `aligned`; a row of a table.

    `layer` counts from 0, and is None outside of the blocks; `module` is a `Module`, `part` the name of the
    tensor within its layer. `elements` numbers were compared, in `compared_in`, the coarser of the types that
    the files hold (float32 at most): both sides are rounded to it first, so that a cast is no change. Of an
    embedding or a head the rows that both have are compared, `rows_added` says how many more the aligned one
    has; `tied` as in `TensorPair`.

    `base_norm` and `change_norm` are Frobenius norms, `relative_norm` their quotient (None where the base is
    zero and the change is not). `changed` is the share of numbers that differ by more than `tolerance` times
    the base's number. The rest is as in `Spectrum`, and None where it was not asked for.
    """

    name: str
    layer: int | None
    module: str
    part: str
    shape: str
    elements: int
    base_norm: float
    change_norm: float
    relative_norm: float | None
    changed: float
    tolerance: float
    base_dtype: str
    aligned_dtype: str
    compared_in: str
    rows_added: int = 0
    tied: str = ""
    stable_rank: float | None = None
    intruders: int | None = None
    looked_at: int | None = None
    spectrum: str = ""


@dataclass(frozen=True, slots=True)
class GroupShift:
    """How all tensors of one module in one layer changed, together; the fields as in `MatrixShift`."""

    layer: int | None
    module: str
    elements: int
    base_norm: float
    change_norm: float
    relative_norm: float | None
    changed: float
    intruders: int | None = None


@dataclass(frozen=True, slots=True)
class _Sums:
    """Squares summed over a run of numbers, or over all of a pair; and how many of them changed."""

    base: float = 0.0
    change: float = 0.0
    changed: int = 0

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(self.base + other.base, self.change + other.change, self.changed + other.changed)


class _Scratch(threading.local):
    """Room for a block of each side in single precision; every thread has its own."""

    def __init__(self) -> None:
        self.base, self.aligned = torch.empty((2, BLOCK))
        self.differs = np.empty(BLOCK, dtype=np.bool_)


def weight_shift(
    base: Path | str,
    aligned: Path | str,
    *,
    tolerance: float = 0.0,
    spectra: SpectrumOptions | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[MatrixShift, ...]:
    """How every weight of a checkpoint folder changed into that of another, in the order of its files.

    The files are read once, a few megabytes at a time. With `spectra`, matrices are read a second time, and
    whole, for the stable rank of their change and their intruder dimensions; that takes far longer.
    `progress` is told the name of each tensor that is done.

    Raises CheckpointError for folders that are no safe checkpoints or do not belong together: other
    architectures, shapes or vocabularies (where both bring a tokenizer), adapters, quantised or broken
    weights; ConfigError for a tolerance that is none.
    """
    if not 0 <= tolerance < math.inf:
        raise ConfigError(f"the tolerance is a share of a weight, a number from 0 on, not {tolerance}")
    sides = open_checkpoint(base), open_checkpoint(aligned)
    pairs = pair_up(*sides)
    if has_tokenizer(sides[0].folder) and has_tokenizer(sides[1].folder):
        require_same_vocabulary(load_tokenizer(sides[0].folder), load_tokenizer(sides[1].folder))
    said = progress or (lambda _: None)
    sums = _streamed(pairs, tolerance, said)
    found: list[MatrixShift] = []
    with Reader(pairs) as reader:
        for pair, one in zip(pairs, sums, strict=True):
            _require_finite(pair, one, *sides)
            if spectra is None:
                spectrum = NO_SPECTRUM
            else:
                spectrum = spectrum_of(pair, reader, coarser(pair), one.change > 0, spectra)
                said(pair.name)
            found.append(_shift(pair, one, tolerance, spectrum))
    return tuple(found)


def layer_shift(shifts: Iterable[MatrixShift]) -> tuple[GroupShift, ...]:
    """The same by layer and module, in the order in which they first come: a map of where a model moved."""
    groups: dict[tuple[int | None, str], list[MatrixShift]] = defaultdict(list)
    for shift in shifts:
        groups[shift.layer, shift.module].append(shift)
    return tuple(_group(layer, module, rows) for (layer, module), rows in groups.items())


def coarser(pair: TensorPair) -> torch.dtype:
    """The type in which the sides of a pair are compared: the coarser of theirs, single precision at most."""
    return max(torch.float32, pair.base.dtype, pair.aligned.dtype, key=_COARSENESS.index)


def _streamed(
    pairs: tuple[TensorPair, ...], tolerance: float, progress: Callable[[str], None]
) -> list[_Sums]:
    scratch = _Scratch()
    types = [coarser(pair) for pair in pairs]

    def work(number: int, base: torch.Tensor, aligned: torch.Tensor) -> _Sums:
        return _sums(base, aligned, types[number], tolerance, scratch)

    sums = [_Sums() for _ in pairs]
    last = 0
    for number, found in map_blocks(pairs, work):
        if number != last:
            progress(pairs[last].name)
            last = number
        sums[number] += found
    progress(pairs[last].name)
    return sums


def _sums(
    base: torch.Tensor, aligned: torch.Tensor, dtype: torch.dtype, tolerance: float, scratch: _Scratch
) -> _Sums:
    """The sums over a block; `aligned` may hold other numbers afterwards.

    Numpy from the moment that both are in single precision: it subtracts, multiplies and counts between one
    and a half and ten times as fast as torch does with one thread.
    """
    count = base.numel()
    before = _single(base, dtype, scratch.base[:count])
    after = _single(aligned, dtype, scratch.aligned[:count])
    differs = scratch.differs[:count]
    with np.errstate(invalid="ignore", over="ignore"):  # Numbers that are not finite show in the sums.
        change = np.subtract(after, before, out=after)  # In place: one buffer less to keep in the cache.
        squares = _square(before), _square(change)
        if tolerance:
            np.greater(np.abs(change, out=change), np.abs(before) * np.float32(tolerance), out=differs)
        else:
            np.not_equal(change, 0, out=differs)
    return _Sums(*squares, int(np.count_nonzero(differs)))


def _single(values: torch.Tensor, dtype: torch.dtype, into: torch.Tensor) -> Floats:
    """Numbers rounded to `dtype`, in single precision: `values` themselves where they are that already."""
    with torch.inference_mode():
        rounded = values.to(dtype)
        single: Floats = (rounded if dtype == torch.float32 else into.copy_(rounded)).numpy()
    return single


def _square(values: Floats) -> float:
    """The sum of squares."""
    whole = values.size - values.size % _ROW
    rows, rest = values[:whole].reshape(-1, _ROW), values[whole:]
    return float(np.vecdot(rows, rows).sum(dtype=np.float64)) + float(np.dot(rest, rest))


def _require_finite(pair: TensorPair, sums: _Sums, base: StoredCheckpoint, aligned: StoredCheckpoint) -> None:
    for value, side in ((sums.base, base), (sums.change, aligned)):
        if not math.isfinite(value):
            raise CheckpointError(
                f"{side.folder}: the tensor {pair.name} holds numbers that are not finite, so nothing can be "
                "measured"
            )


def _shift(pair: TensorPair, sums: _Sums, tolerance: float, spectrum: Spectrum) -> MatrixShift:
    return MatrixShift(
        name=pair.name,
        layer=pair.part.layer,
        module=pair.part.module.value,
        part=pair.part.name,
        shape="x".join(map(str, pair.shape)),
        elements=pair.count,
        base_norm=math.sqrt(sums.base),
        change_norm=math.sqrt(sums.change),
        relative_norm=_relative(sums.change, sums.base),
        changed=sums.changed / pair.count if pair.count else 0.0,
        tolerance=tolerance,
        base_dtype=_name(pair.base.dtype),
        aligned_dtype=_name(pair.aligned.dtype),
        compared_in=_name(coarser(pair)),
        rows_added=pair.rows_added,
        tied=pair.tied.value,
        stable_rank=spectrum.stable_rank,
        intruders=spectrum.intruders,
        looked_at=spectrum.looked_at,
        spectrum=spectrum.method,
    )


def _group(layer: int | None, module: str, rows: list[MatrixShift]) -> GroupShift:
    elements = sum(row.elements for row in rows)
    base = sum(row.base_norm**2 for row in rows)
    change = sum(row.change_norm**2 for row in rows)
    counted = [row.intruders for row in rows if row.intruders is not None]
    return GroupShift(
        layer=layer,
        module=module,
        elements=elements,
        base_norm=math.sqrt(base),
        change_norm=math.sqrt(change),
        relative_norm=_relative(change, base),
        changed=sum(row.changed * row.elements for row in rows) / elements if elements else 0.0,
        intruders=sum(counted) if counted else None,
    )


def _relative(change: float, base: float) -> float | None:
    """The quotient of two norms, given as squares."""
    if base == 0:
        return None if change else 0.0
    return math.sqrt(change / base)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
