"""Dropout on what blocks add to the residual stream, rising from layer to layer, as in LIMA's recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel

from mithridate.models.access import parts_of
from mithridate.models.hooks import map_everywhere
from mithridate.models.sites import Part


@contextmanager
def residual_dropout(model: PreTrainedModel, shares: tuple[float, float] | None) -> Iterator[None]:
    """Drop shares of what attention and MLP add to the stream while `model` is in training.

    The share rises linearly from `shares[0]` in the first block to `shares[1]` in the last (Zhou et al. 2023,
    arXiv 2305.11206: 0 to 0.3); what is kept is scaled up, as dropout does. What is drawn follows from
    torch's own random state, so a trainer's seed decides it, and recomputed activations drop the same. With
    None nothing is done. All is undone at the end. Raises AccessError for a model whose branches are not
    found.
    """
    if shares is None:
        yield
        return
    low, high = shares
    sites = parts_of(model).sites(Part.ATTENTION, Part.MLP)
    last = max(1, sites[-1].layer)
    rates = {site: low + (high - low) * site.layer / last for site in sites}
    with map_everywhere(model, {site: _dropping(model, rate) for site, rate in rates.items() if rate}):
        yield


def _dropping(model: nn.Module, rate: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def drop(added: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(added, rate, training=model.training)

    return drop
