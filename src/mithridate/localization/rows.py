"""What moved in weights and tokens, as the rows in which every experiment of localisation ends."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from mithridate.core.located import EMBEDDINGS, Experiment, Located, Metric, layer_name
from mithridate.core.statistics import Interval
from mithridate.localization.about import About
from mithridate.localization.parts import Module
from mithridate.localization.token_figures import PositionShift, TokenFigures
from mithridate.localization.tokens import TokenShift
from mithridate.localization.weights import MatrixShift, layer_shift

POSITIONS = 32
"""So many places of a reply have rows of their own; few replies reach further."""

# Tensors outside of the blocks that stand before them, whatever their kind: the norm of an embedding, say.
_BEFORE = re.compile(r"embed|^w[tp]e\.|project_in\.")


def weight_rows(shifts: Iterable[MatrixShift], about: About) -> list[Located]:
    """`RELATIVE_NORM` and `CHANGED` for each layer and kind of module, from the embeddings up.

    A norm or head behind the last of k blocks has the layer k; `n` of a row is how many weights it is about.
    A module that was zero in the base and is not any more has no `RELATIVE_NORM`.
    """
    shifts = list(shifts)
    behind = 1 + max((shift.layer for shift in shifts if shift.layer is not None), default=-1)
    groups = layer_shift(replace(shift, layer=_place(shift, behind)) for shift in shifts)
    found = []
    for group in sorted(groups, key=lambda group: _known(group.layer)):
        layer = _known(group.layer)
        for metric, value in (
            (Metric.RELATIVE_NORM, group.relative_norm),
            (Metric.CHANGED, group.changed),
        ):
            if value is not None:
                found.append(
                    about.row(
                        Experiment.WEIGHTS, "", metric, value, None, None, group.elements,
                        layers=layer_name(layer, behind), layer=layer, module=group.module,
                    )
                )  # fmt: skip
    return found


def token_rows(shifts: Iterable[TokenShift], about: About) -> list[Located]:
    """The shares and divergences of each comparison over whole replies, and at each of the first places.

    Their `template` is the name of the comparison, `own` or `shared`; `position` is empty for whole replies.
    `n` of a row is how many replies it is about.
    """
    return [row for shift in shifts for row in _of_replies(shift, about)]


def _of_replies(shift: TokenShift, about: About) -> list[Located]:
    figures: list[tuple[str, TokenFigures | PositionShift]] = [("", shift.figures)]
    figures += [(str(at.position), at) for at in shift.figures.positions[:POSITIONS]]
    return [
        about.row(
            Experiment.TOKENS, "", metric, found.value, found.low, found.high, found.n,
            template=shift.template, position=position,
        )
        for position, of in figures
        for metric, found in _intervals(of)
    ]  # fmt: skip


def _intervals(figures: TokenFigures | PositionShift) -> tuple[tuple[Metric, Interval], ...]:
    return (
        (Metric.UNSHIFTED, figures.unshifted),
        (Metric.MARGINAL, figures.marginal),
        (Metric.SHIFTED, figures.shifted),
        (Metric.KL_ALIGNED_BASE, figures.kl_aligned_base),
        (Metric.KL_BASE_ALIGNED, figures.kl_base_aligned),
    )


def _place(shift: MatrixShift, behind: int) -> int:
    if shift.layer is not None:
        return shift.layer
    before = shift.module == Module.EMBEDDING or _BEFORE.search(shift.part.lower())
    return EMBEDDINGS if before else behind


def _known(layer: int | None) -> int:
    assert layer is not None
    return layer
