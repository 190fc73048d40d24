"""Activations that were kept while a batch of texts went through a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from mithridate.core.errors import AccessError
from mithridate.models.passes import Pass, Positions
from mithridate.models.sites import Site


class Captured(Mapping[Site, torch.Tensor]):
    """The activations of one batch, by site: of shape (rows, columns, width).

    `hooks.capture` fills it; the shapes and errors are told there.
    """

    def __init__(
        self, positions: Positions | None, dtype: torch.dtype | None, device: torch.device | None
    ) -> None:
        self._wanted = positions
        self._dtype, self._device = dtype, device
        self._pieces: dict[Site, list[torch.Tensor]] = {}
        self._passes: list[Pass] = []
        self._columns: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def positions(self) -> torch.Tensor:
        """The position in its text of each column, of shape (rows, columns); -1 at padding."""
        if self._wanted is None:
            return torch.cat([passed.positions for passed in self._passes], dim=1)
        rows = self._passes[0].positions.shape[0]
        return torch.as_tensor(self._wanted).expand(rows, -1)

    def __getitem__(self, site: Site) -> torch.Tensor:
        pieces = self._pieces[site]
        if len(pieces) > 1:
            pieces[:] = [torch.cat(pieces, dim=1)]
        return pieces[0]

    def __iter__(self) -> Iterator[Site]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)

    def mean(self, site: Site) -> torch.Tensor:
        """The mean over all columns that are no padding, of shape (width,), summed in float32."""
        tensor = self[site]
        kept = (self.positions >= 0).to(tensor.device)
        return tensor[kept].float().mean(dim=0).to(tensor.dtype)

    def keep(self, site: Site, tensor: torch.Tensor, now: Pass, *, copy: bool) -> None:
        """Add what one pass has at `site`; a copy of it where the model will change it, with `copy`."""
        self._learn(now)
        if self._wanted is None:
            kept = tensor.detach()
        elif now.begins:
            kept = self._chosen(tensor.detach(), now)
        else:
            return  # positions are those of the prompt
        moved = kept.to(device=self._device, dtype=self._dtype)
        if copy and moved.data_ptr() == tensor.data_ptr():
            moved = moved.clone()
        self._pieces.setdefault(site, []).append(moved)

    def _learn(self, now: Pass) -> None:
        if self._passes and self._passes[-1] is now:
            return
        if self._passes and now.begins:
            raise AccessError(
                "a second batch of texts began while the activations of one were kept; capture each batch in "
                "a block of its own"
            )
        if self._passes and now.positions.shape[0] != self._passes[0].positions.shape[0]:
            raise AccessError(
                f"{self._passes[0].positions.shape[0]} texts began, and {now.positions.shape[0]} went on, so "
                "nobody can tell whose activations these are; capture prompts alone, with `positions`, or "
                "generate in a way that keeps the rows of texts that are done"
            )
        self._passes.append(now)

    def _chosen(self, tensor: torch.Tensor, now: Pass) -> torch.Tensor:
        if self._columns is None:
            assert self._wanted is not None
            self._columns = now.columns(self._wanted)
        columns, there = (part.to(tensor.device) for part in self._columns)
        rows = torch.arange(tensor.shape[0], device=tensor.device)[:, None]
        chosen = tensor[rows, columns]
        return chosen if bool(there.all()) else chosen.masked_fill(~there[:, :, None], 0)
