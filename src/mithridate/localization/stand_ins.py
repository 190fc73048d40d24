"""Weights to put in the place of a model's own: another model's, and those that should carry nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from mithridate.core.errors import AccessError
from mithridate.core.seeds import derive_seed
from mithridate.models.transplanting import part_tensors

Tensors = dict[str, torch.Tensor]
"""Weights by name, as `models.transplanting.with_tensors` takes them."""


def from_source(target: PreTrainedModel, source: PreTrainedModel, parts: Sequence[str]) -> Tensors:
    """What `source` has in `parts`: the real thing. The tensors are the source's own, not copies."""
    theirs = source.state_dict()
    return {name: theirs[name] for part in parts for name in part_tensors(target)[part]}


def random_change(
    target: PreTrainedModel, source: PreTrainedModel, parts: Sequence[str], *, seed: int
) -> Tensors:
    """The target's weights in `parts`, moved as far as `source` is from them, but in a random direction.

    Each tensor is moved by a Gaussian of the Frobenius norm of the real change: so it is as large in every
    tensor, and only where it points differs. What is no floating point number stays.
    """
    theirs, ours = source.state_dict(), part_tensors(target)
    moved: Tensors = {}
    for name, tensor in ((name, t.detach()) for part in parts for name, t in ours[part].items()):
        if not tensor.is_floating_point():
            moved[name] = tensor
            continue
        generator = torch.Generator().manual_seed(derive_seed(seed, "random change", name))
        noise = torch.randn(tensor.shape, generator=generator).to(tensor)
        size = (theirs[name].to(tensor) - tensor).float().norm()
        moved[name] = tensor + noise * (size / noise.float().norm().clamp(min=1e-30)).to(tensor)
    return moved


def wrong_layer(target: PreTrainedModel, source: PreTrainedModel, block: int) -> Tensors:
    """What `source` has in the block half the network away, for the target's `block`.

    Raises AccessError where the two blocks are not of one shape, or are one and the same.
    """
    ours, theirs = part_tensors(target), part_tensors(source)
    blocks = sum(name.startswith("block ") for name in ours)
    other = (block + blocks // 2) % blocks
    here, there = ours[f"block {block}"], theirs[f"block {other}"]
    shapes = [[tuple(tensor.shape) for tensor in tensors.values()] for tensors in (here, there)]
    if other == block or shapes[0] != shapes[1]:
        raise AccessError(f"block {other} cannot stand in the place of block {block}: they are not alike")
    return {name: tensor.detach() for name, tensor in zip(here, there.values(), strict=True)}
