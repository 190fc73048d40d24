"""What to put in the place of activations: those of another text, their mean, or themselves and a direction.

Each function returns an edit for `hooks.replace`. `where` chooses positions of the texts; whatever it says,
padding stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from mithridate.core.errors import AccessError
from mithridate.models.hooks import Edit
from mithridate.models.passes import Context, Positions

Where = Callable[[Context], torch.Tensor]
"""Which columns of a pass to edit: of shape (rows, columns), true or false."""


def everywhere(context: Context) -> torch.Tensor:
    """Every position of every text, in prompt and answer."""
    return context.positions >= 0


def at(positions: Positions) -> Where:
    """The positions of the prompt, of shape (rows, k) or (k,), and -1 for none.

    What it returns raises AccessError for a position that the prompt does not have.
    """

    def chosen(context: Context) -> torch.Tensor:
        mask = torch.zeros_like(context.positions, dtype=torch.bool)
        if context.now.begins:
            columns, there = context.now.columns(positions)
            rows, places = there.nonzero(as_tuple=True)
            mask[rows, columns[rows, places]] = True
        return mask

    return chosen


def interchange(values: torch.Tensor, positions: Positions) -> Edit:
    """Put `values`, of shape (rows or 1, k, width), in the place of the prompt's activations at `positions`.

    Interchange intervention, or activation patching (Vig et al. 2004.12265; Geiger et al. 2106.02997):
    `values` are what another text has at its own positions. `positions`, of shape (rows, k) or (k,), are
    counted in each text from 0; those of -1 leave their row as it is, so that each row of one batch can be
    patched at another place. Rows are those of the batch that goes through the model; `LanguageModel` orders
    its prompts anew and asks the same one once, so give it only edits that are the same for every row. The
    edit raises AccessError for a position that the prompt does not have, and for values that do not fit rows,
    positions and width.
    """

    def edit(tensor: torch.Tensor, context: Context) -> torch.Tensor:
        if not context.now.begins:
            return tensor
        columns, there = (part.to(tensor.device) for part in context.now.columns(positions))
        wanted = (*columns.shape, tensor.shape[-1])
        if values.ndim != 3 or values.shape[0] not in (1, wanted[0]) or values.shape[1:] != wanted[1:]:
            raise AccessError(
                f"values of the shape {tuple(values.shape)} cannot be put into the {context.site}; expected "
                f"{wanted}: rows, positions and width"
            )
        rows, places = there.nonzero(as_tuple=True)
        moved = values.to(tensor).expand(wanted)
        return tensor.index_put((rows, columns[rows, places]), moved[rows, places])

    return edit


def put_mean(mean: torch.Tensor, where: Where = everywhere) -> Edit:
    """Put `mean`, of shape (width,), in the place of activations: all that differs between texts is gone.

    Mean ablation (Wang et al. 2211.00593); `Captured.mean` makes such a mean. The edit raises AccessError
    for another width.
    """

    def edit(tensor: torch.Tensor, context: Context) -> torch.Tensor:
        _require_width(mean, tensor, context)
        return torch.where(_mask(where, tensor, context), mean.to(tensor), tensor)

    return edit


def add_direction(direction: torch.Tensor, scale: float = 1.0, where: Where = everywhere) -> Edit:
    """Add `scale` times `direction`, of shape (width,) and as long as it is, to activations.

    Activation addition (Turner et al. 2308.10248). The sum is taken in the type of the activations. The edit
    raises AccessError for another width.
    """

    def edit(tensor: torch.Tensor, context: Context) -> torch.Tensor:
        _require_width(direction, tensor, context)
        step = (scale * direction).to(tensor)
        return torch.where(_mask(where, tensor, context), tensor + step, tensor)

    return edit


def _mask(where: Where, tensor: torch.Tensor, context: Context) -> torch.Tensor:
    chosen = where(context) & (context.positions >= 0)
    return chosen.to(tensor.device)[:, :, None]


def _require_width(vector: torch.Tensor, tensor: torch.Tensor, context: Context) -> None:
    if vector.shape != tensor.shape[-1:]:
        raise AccessError(
            f"a vector of the shape {tuple(vector.shape)} does not fit the {context.site}; expected the "
            f"width of its activations, {tensor.shape[-1]}"
        )
