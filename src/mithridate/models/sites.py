"""Places in a decoder where activations can be read and replaced."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Part(StrEnum):
    """What is read or replaced at a block: the residual stream, or what one of its branches adds to it.

    A branch counts as what reaches the stream: where an architecture puts a norm behind its attention or its
    MLP (OLMo 2, Gemma 2), that of the norm.
    """

    RESIDUAL = "residual"
    ATTENTION = "attention"
    MLP = "mlp"
    ENTRY = "entry"


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """One part of the block `layer`, counted from 0: its output, what attention or MLP add, or its entry.

    The stream enters block 0 alone at an entry: that of any other block is the residual of the one before.
    Raises ValueError for another entry or a negative layer.
    """

    layer: int
    part: Part

    def __post_init__(self) -> None:
        if self.layer < 0:
            raise ValueError(f"there is no block {self.layer}; blocks are counted from 0")
        if self.part == Part.ENTRY and self.layer:
            raise ValueError(
                f"the entry of block {self.layer} is the residual of block {self.layer - 1}; ask for that"
            )

    def __str__(self) -> str:
        return f"{self.part} of block {self.layer}"


ENTRY = Site(0, Part.ENTRY)
"""The residual stream as it enters block 0: the embeddings, scaled and placed as the model does."""
