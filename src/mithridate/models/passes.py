"""Forward passes as hooks see them: which positions of which text a tensor holds."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mithridate.core.errors import AccessError
from mithridate.models.sites import Site

Positions = torch.Tensor | Sequence[int] | Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward pass.

    `positions`, of shape (rows, columns), counts the tokens of each row's text from 0, over all passes of a
    generation; it is -1 where a row is padding. `begins` says that this is the pass of the prompt, or of the
    whole text: no keys and values were there before, or it is the first that the hooks see. `ids`, of the
    same shape as the positions, are None where the decoder is given embeddings instead.
    """

    positions: torch.Tensor
    begins: bool
    ids: torch.Tensor | None = None

    def columns(self, wanted: Positions) -> tuple[torch.Tensor, torch.Tensor]:
        """Where the positions `wanted`, of shape (rows, k) or (k,), are: columns of shape (rows, k).

        A wanted -1 is no position. The second tensor, of the same shape, says where there is one. Raises
        AccessError for other rows than the pass has, or a position that is not in the pass.
        """
        asked = torch.as_tensor(wanted, device=self.positions.device)
        rows = self.positions.shape[0]
        asked = asked.expand(rows, -1) if asked.ndim == 1 else asked
        if asked.ndim != 2 or asked.shape[0] != rows:
            raise AccessError(
                f"the positions have the shape {tuple(asked.shape)}, but {rows} texts went through the "
                "model; expected one row of positions for each text, or one for all"
            )
        found = self.positions[:, :, None] == asked[:, None, :]
        is_asked = asked >= 0
        if lost := (is_asked & ~found.any(dim=1)).nonzero().tolist():
            row, place = lost[0]
            there = self.positions[row][self.positions[row] >= 0].tolist() or [-1]
            raise AccessError(
                f"position {int(asked[row, place])} of text {row} was asked for, but the pass that begins it "
                f"has the positions {there[0]} to {there[-1]}"
            )
        return found.int().argmax(dim=1), is_asked


@dataclass(frozen=True, slots=True)
class Context:
    """What a function that replaces activations knows of the tensor that it is given: `site` and pass."""

    site: Site
    now: Pass

    @property
    def positions(self) -> torch.Tensor:
        """As `Pass.positions`: of shape (rows, columns), -1 at padding."""
        return self.now.positions


def pass_of(
    forward: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, first: bool
) -> Pass:
    """The pass that begins when a decoder, whose `forward` has this signature, is called.

    `first` says that the hooks saw none before. Texts are told from padding by the mask, wherever it pads;
    without a mask by the `position_ids`, and without these nothing is padding. Raises AccessError for masks
    of other than two dimensions, or of another width than cache and tokens have together, and for a decoder
    that is given neither ids nor embeddings.
    """
    bound = forward.bind_partial(*args, **kwargs).arguments
    given = {**bound, **bound.get("kwargs", {})}
    tokens = given.get("inputs_embeds") if given.get("input_ids") is None else given["input_ids"]
    if not isinstance(tokens, torch.Tensor):
        raise AccessError(
            "the module that holds the blocks is given neither token ids nor embeddings, so nobody can tell "
            "which positions it sees; expected a decoder"
        )
    rows, columns = tokens.shape[:2]
    mask, places = given.get("attention_mask"), given.get("position_ids")
    past = _past(given.get("past_key_values"), mask, columns)
    if mask is not None:
        positions = _from_mask(mask, rows, past, columns)
    elif isinstance(places, torch.Tensor) and places.ndim == 2:
        positions = places.expand(rows, columns)
    else:
        positions = torch.arange(past, past + columns, device=tokens.device).expand(rows, columns)
    return Pass(positions, past == 0 or first, None if tokens.ndim == 3 else tokens)


def _past(cache: Any, mask: Any, columns: int) -> int:
    """How many tokens of each row, with padding, went through before."""
    if cache is None:
        return 0
    try:
        return int(cache.get_seq_length())
    except ValueError as error:
        # A cache of linear attention alone keeps no length; the mask has one number for each token so far.
        if isinstance(mask, torch.Tensor) and mask.ndim == 2:
            return mask.shape[1] - columns
        raise AccessError(
            "the cache keeps no length, so nobody can tell which positions these are; give the model an "
            "attention mask with one number a token"
        ) from error


def _from_mask(mask: Any, rows: int, past: int, columns: int) -> torch.Tensor:
    if not isinstance(mask, torch.Tensor) or mask.ndim != 2 or mask.shape[1] != past + columns:
        found = tuple(mask.shape) if isinstance(mask, torch.Tensor) else type(mask).__name__
        raise AccessError(
            f"the attention mask is {found}, which does not tell text from padding; expected one number a "
            f"token, of shape ({rows}, {past + columns})"
        )
    counted = mask.long().cumsum(dim=1) - 1
    return counted.masked_fill(~mask.bool(), -1)[:, past:]
