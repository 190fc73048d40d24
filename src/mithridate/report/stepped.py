"""Charts of shares against an amount on a logarithmic axis, with nothing at all shown apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import plotly.graph_objects as go

from mithridate.report.estimates import Estimate
from mithridate.report.figures import empty_figure, label, share_axis, whiskers
from mithridate.report.look import Drawn

_APART = 0.45
"""How far left of the smallest amount nothing stands, in powers of ten."""
_BESIDE = 0.02
_LEAST_ROOM = 0.3
"""Room that a label takes, in powers of ten where the axis has about three."""


def stepped(
    lines: Sequence[tuple[Drawn, Mapping[float, Estimate]]],
    said: Callable[[float], str],
    words: str,
    upright: str = "",
) -> go.Figure | None:
    """A line each, with intervals; `said` puts an amount into words, `words` names the axis
    and `upright` the other one.

    None where there are fewer than two amounts, and so no curve.
    """
    amounts = sorted({amount for _, found in lines for amount in found})
    if len(amounts) < 2:
        return None
    places = _places(amounts)
    figure = empty_figure()
    for number, (line, found) in enumerate(lines):
        if found:
            shift = _BESIDE * (number - (len(lines) - 1) / 2)
            kept = sorted(found)
            figure.add_trace(
                whiskers(
                    line,
                    [places[amount] + shift for amount in kept],
                    [found[amount] for amount in kept],
                    [label(said(amount)) for amount in kept],
                    "lines+markers",
                )
            )
    ticks = _with_room(places)
    share_axis(figure)
    if upright:
        figure.update_yaxes(title_text=upright)
    figure.update_xaxes(
        title_text=words,
        tickvals=[places[amount] for amount in ticks],
        ticktext=[label(said(amount)) for amount in ticks],
        range=[min(places.values()) - 0.15, max(places.values()) + 0.15],
        tickangle=0,
    )
    return figure


def _places(amounts: Sequence[float]) -> dict[float, float]:
    above = {amount: math.log10(amount) for amount in amounts if amount > 0}
    least = min(above.values())
    return {amount: above.get(amount, least - _APART) for amount in amounts}


def _with_room(places: Mapping[float, float]) -> list[float]:
    """The amounts whose labels have room, from the largest down; nothing always has."""
    reach = max(places.values()) - min(places.values())
    kept: list[float] = []
    for amount, place in sorted(places.items(), reverse=True):
        if not kept or places[kept[-1]] - place >= _LEAST_ROOM * reach / 3 or amount == 0:
            kept.append(amount)
    return kept[::-1]
