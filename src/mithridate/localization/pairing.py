"""Which tensors of two checkpoints face each other, with tied heads and embeddings of other sizes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mithridate.core.errors import CheckpointError
from mithridate.localization.parts import Module, Part, is_head, is_token_embedding, part_of
from mithridate.localization.tensor_files import StoredCheckpoint, StoredTensor

_SHOWN = 3


class Tied(StrEnum):
    """Which of two models uses its embedding as its head too."""

    NEITHER = ""
    BASE = "base"
    ALIGNED = "aligned"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class TensorPair:
    """The same tensor of two checkpoints.

    `rows_added` is how many rows the aligned one has more (less, if negative); only the rows that both have
    are compared. `tied` is on the head which is an embedding on one side, and on the embedding that is the
    head on both.
    """

    name: str
    part: Part
    base: StoredTensor
    aligned: StoredTensor
    rows_added: int = 0
    tied: Tied = Tied.NEITHER

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of what is compared: rows that both have."""
        return min(self.base.shape, self.aligned.shape, key=lambda shape: shape[:1])

    @property
    def count(self) -> int:
        """How many numbers are compared; in either file they are the first ones of the tensor."""
        return min(self.base.count, self.aligned.count)


def pair_up(base: StoredCheckpoint, aligned: StoredCheckpoint) -> tuple[TensorPair, ...]:
    """The tensors of two checkpoints, in the order in which the base has them in its files.

    A head that one side does not store is that side's embedding. Raises CheckpointError where the
    architectures differ, a tensor is on one side alone, or has another shape there; embeddings and heads may
    differ in their rows.
    """
    if base.architecture != aligned.architecture:
        raise CheckpointError(
            f"{base.folder} is a {base.architecture} and {aligned.folder} a {aligned.architecture}; "
            "only checkpoints of one architecture can be compared"
        )
    ours, theirs = dict(base.tensors), dict(aligned.tensors)
    tied = _tie(ours, theirs)
    for here, there, folder, other in (
        (ours, theirs, aligned.folder, base.folder),
        (theirs, ours, base.folder, aligned.folder),
    ):
        if missing := [name for name in here if name not in there]:
            raise CheckpointError(
                f"{folder}: lacks {len(missing)} of the tensors of {other} ({_some(missing)}); "
                "they are of different shape or architecture"
            )
    order = sorted(ours, key=lambda name: (ours[name].path, ours[name].begin, name))
    pairs = tuple(_pair(name, ours[name], theirs[name], tied.get(name, Tied.NEITHER)) for name in order)
    for pair in pairs:
        _check_shapes(pair, base, aligned)
    return pairs


def _tie(ours: dict[str, StoredTensor], theirs: dict[str, StoredTensor]) -> dict[str, Tied]:
    """Give a side that stores no head its embedding for one, if the other side has a head."""
    heads = sorted({name for name in (*ours, *theirs) if is_head(name)})
    embeddings = [name for name in ours if is_token_embedding(name) and name in theirs]
    if len(embeddings) != 1:
        return {}
    (embedding,) = embeddings
    if not heads:
        return {embedding: Tied.BOTH}
    tied: dict[str, Tied] = {}
    for head in heads:
        for side, name in ((ours, Tied.BASE), (theirs, Tied.ALIGNED)):
            if head not in side:
                side[head] = side[embedding]
                tied[head] = name
    return tied


def _pair(name: str, base: StoredTensor, aligned: StoredTensor, tied: Tied) -> TensorPair:
    part = part_of(name)
    by_token = part.module in (Module.EMBEDDING, Module.HEAD) and base.shape and aligned.shape
    added = aligned.shape[0] - base.shape[0] if by_token else 0
    return TensorPair(name, part, base, aligned, added, tied)


def _check_shapes(pair: TensorPair, base: StoredCheckpoint, aligned: StoredCheckpoint) -> None:
    first = len(pair.shape[:1]) if pair.part.module in (Module.EMBEDDING, Module.HEAD) else 0
    if pair.base.shape[first:] != pair.aligned.shape[first:]:
        raise CheckpointError(
            f"the tensor {pair.name} is {pair.base.shape} in {base.folder} and {pair.aligned.shape} in "
            f"{aligned.folder}; only checkpoints of one shape can be compared"
        )


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
