"""Sets of layers that are moved together: one, a sliding window, all up to one, all from one on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from transformers import PreTrainedModel

from mithridate.core.located import EMBEDDINGS, Family, layer_name
from mithridate.models.access import parts_of
from mithridate.models.transplanting import part_tensors

WINDOW = 2
"""Blocks in a sliding window."""


@dataclass(frozen=True, slots=True)
class LayerSet:
    """The layers from `first` to `last`, both included.

    Layers are counted as in rows: -1 are the embeddings, 0 to n - 1 the blocks, n is what lies behind them.
    """

    family: Family
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of one model: its number of blocks, and whether its head is its embedding."""

    blocks: int
    tied: bool
    final_norm: bool

    @classmethod
    def of(cls, model: PreTrainedModel) -> Layers:
        """The layers of `model`. Raises AccessError where its parts are not found."""
        parts, tensors = parts_of(model), part_tensors(model)
        return cls(
            len(parts.blocks),
            bool(tensors["embeddings"].keys() & tensors["head"].keys()),
            parts.final_norm is not None,
        )

    def sets(self, *families: Family) -> list[LayerSet]:
        """The sets of `families`, from the bottom up.

        Prefixes begin at the embeddings and suffixes end at the head. Neither counts one layer alone or all
        of them, which are singles, and the model itself.
        """
        return [found for family in families for found in self._of(family)]

    def _of(self, family: Family) -> Iterator[LayerSet]:
        top = self.blocks
        if family is Family.SINGLE:
            yield from (LayerSet(family, layer, layer) for layer in range(EMBEDDINGS, top + 1))
        elif family is Family.WINDOW:
            yield from (LayerSet(family, low, low + WINDOW - 1) for low in range(top - WINDOW + 1))
        elif family is Family.PREFIX:
            yield from (LayerSet(family, EMBEDDINGS, last) for last in range(top))
        elif family is Family.SUFFIX:
            yield from (LayerSet(family, first, top) for first in range(top))
        elif family is Family.ALL:
            yield LayerSet(family, EMBEDDINGS, top)
        else:
            yield from ()

    def parts(self, chosen: LayerSet) -> list[str]:
        """The parts that a set is made of, as `models.transplanting.part_tensors` calls them.

        A head that is the embedding goes with the embeddings; the last layer is then the final norm alone.
        """
        blocks = range(max(0, chosen.first), min(self.blocks - 1, chosen.last) + 1)
        found = [f"block {number}" for number in blocks]
        bottom, top = chosen.first == EMBEDDINGS, chosen.last == self.blocks
        found += ["embeddings"] if bottom else []
        found += ["head"] if (bottom if self.tied else top) else []
        return [*found, *(["final norm"] if top and self.final_norm else [])]

    def name(self, chosen: LayerSet) -> str:
        """What people call a set: `embeddings`, `3`, `0-3`, `head`."""
        ends = dict.fromkeys((chosen.first, chosen.last))
        return "-".join(layer_name(layer, self.blocks) for layer in ends)
