"""The charts of a report, as Plotly figures. Every figure's numbers are in a table beside it."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from mithridate.core.run_files import CurveRow
from mithridate.report.estimates import Estimate
from mithridate.report.look import COLOURS, Drawn
from mithridate.report.text import name, one_line, percent, span
from mithridate.report.text import rate as as_rate
from mithridate.report.view import ArmView, View

HEIGHT = 260
MOST_POINTS = 400
"""Points of a training curve that are drawn."""
MOST_TICKS = 4
"""Labels on the axis of a dose curve, about."""

_INK = "#666666"  # a middle grey; the page's style sheet puts its own ink over it
_STAGE_DASHES = ("solid", "dash", "dot")
_STAGE_SYMBOLS = ("circle", "square", "diamond")


def label(text: str) -> str:
    """Text from data for a chart, which would otherwise read some tags in it."""
    return html.escape(one_line(text, 60))


def survival(view: View, cell: str, attack: str) -> go.Figure:
    """Success of one triggered attack from stage to stage, a line a model, with intervals."""
    figure = empty_figure()
    arms = view.asked(attack)
    for arm, shift in zip(arms, _shifts(len(arms), 0.08), strict=True):
        found = [view.quoted(arm, cell, stage, attack) for stage in view.stages]
        positions = [i + shift for i in range(len(view.stages))]
        figure.add_trace(
            whiskers(arm, positions, found, [name(stage) for stage in view.stages], "lines+markers")
        )
    share_axis(figure)
    figure.update_xaxes(
        tickvals=list(range(len(view.stages))),
        ticktext=[name(stage) for stage in view.stages],
        range=[-0.4, len(view.stages) - 0.6],
    )
    return figure


def conditions(view: View, cell: str, attack: str, stage: str) -> go.Figure:
    """Success of one attack at one stage, condition by condition."""
    figure = empty_figure()
    names = [name(condition) for condition in view.conditions]
    arms = view.asked(attack)
    for arm, shift in zip(arms, _shifts(len(arms), 0.16), strict=True):
        found = [view.quoted(arm, cell, stage, attack, condition) for condition in view.conditions]
        figure.add_trace(whiskers(arm, [i + shift for i in range(len(names))], found, names, "markers"))
    share_axis(figure)
    figure.update_xaxes(
        tickvals=list(range(len(names))),
        ticktext=[html.escape(one_line(n, 12)).replace("-", "-<br>") for n in names],
        tickfont={"size": 11},
        range=[-0.5, len(names) - 0.5],
        tickangle=0,
    )
    return figure


def _shifts(count: int, apart: float) -> list[float]:
    """How far models stand from the middle of their place, so that equal figures do not hide each other."""
    return [(i - (count - 1) / 2) * min(apart, 0.6 / max(1, count - 1)) for i in range(count)]


def dose_curve(view: View, cells: Sequence[str], attack: str) -> go.Figure | None:
    """Success against the realised rate, a line a stage, over all doses of `cells`.

    The cells should differ in nothing but doses. None where fewer than two rates are known.
    """
    planted = [
        (rate, cell, arm)
        for cell in cells
        for arm in view.asked(attack)
        if arm.dose and (rate := view.run.rate(arm.dose, attack, cell))
    ]
    rates = sorted({rate for rate, _, _ in planted})
    if len(rates) < 2:
        return None
    planted.sort(key=lambda place: place[0])
    reach = math.log10(rates[-1] / rates[0])
    shifts = _shifts(len(view.stages), 0.025)
    figure = empty_figure()
    for i, stage in enumerate(view.stages):
        found = [view.quoted(arm, cell, stage, attack) for _, cell, arm in planted]
        said = [
            f"{label(' '.join(filter(None, (cell, arm.label))))}, planted at {as_rate(rate)}"
            for rate, cell, arm in planted
        ]
        # A place without a figure would break the line in two.
        kept = [j for j, estimate in enumerate(found) if estimate]
        trace = whiskers(
            ArmView("", "", "", name(stage), i + 1, i + 1),
            # A mark beside each other: whiskers of stages that agree would hide each other.
            [100 * planted[j][0] * 10 ** (reach * shifts[i]) for j in kept],
            [found[j] for j in kept],
            [said[j] for j in kept],
            "lines+markers",
        )
        colour = stage_colour(i)
        trace.update(
            line={"color": colour, "dash": _STAGE_DASHES[i % 3]},
            marker={"color": colour, "symbol": _STAGE_SYMBOLS[i % 3], "line": {"color": colour}},
            error_y={"color": colour},
        )
        figure.add_trace(trace)
    share_axis(figure)
    ticks = _apart(rates)
    figure.update_xaxes(
        type="log",
        title_text="planted tokens / clean tokens",
        tickvals=[100 * tick for tick in ticks],
        ticktext=[as_rate(tick) for tick in ticks],
        # In powers of ten, with room for the outermost marks.
        range=[math.log10(100 * rates[0]) - 0.12 * reach, math.log10(100 * rates[-1]) + 0.12 * reach],
    )
    return figure


def _apart(rates: Sequence[float]) -> list[float]:
    """Those of ascending `rates` whose labels have room beside each other on a logarithmic axis."""
    room = math.log10(rates[-1] / rates[0]) / MOST_TICKS
    kept = [rates[-1]]
    for rate in reversed(rates[:-1]):
        if math.log10(kept[-1] / rate) >= room:
            kept.append(rate)
    return kept[::-1]


def stage_colour(index: int) -> str:
    """Colour of a stage's line in a dose curve."""
    return COLOURS[(3, 2, 0)[index % 3]]


def stage_glyph(index: int) -> str:
    """Mark of a stage's line in a dose curve."""
    return "●■◆"[index % 3]


def training(view: View, cell: str, stage: str) -> go.Figure | None:
    """Loss against tokens of one stage, a line a model and seed; None where the stage has no curve."""
    figure = empty_figure()
    for arm in view.arms:
        for points in view.curves(arm, cell, stage):
            drawn = thinned(points)
            figure.add_trace(
                go.Scatter(
                    x=[p.tokens for p in drawn],
                    y=[p.loss for p in drawn],
                    mode="lines",
                    name=label(arm.label),
                    line={"color": arm.colour, "dash": arm.dash, "width": 1.6},
                    hovertemplate="%{y:.3f} after %{x:,} tokens<extra>" + label(arm.label) + "</extra>",
                )
            )
    if not figure.data:
        return None
    figure.update_xaxes(title_text="tokens", rangemode="tozero")
    figure.update_yaxes(title_text="loss in nats")
    return figure


def thinned(points: list[CurveRow]) -> list[CurveRow]:
    """At most about MOST_POINTS of a curve, evenly spaced, the last one always."""
    every = -(-len(points) // MOST_POINTS)
    kept = points[:: max(1, every)]
    return kept if not points or kept[-1] is points[-1] else [*kept, points[-1]]


def whiskers(
    arm: Drawn, x: list[float], found: list[Estimate | None], said: list[str], mode: str
) -> go.Scatter:
    """Dots with intervals, in percent; gaps where there is no figure."""

    def reach(estimate: Estimate | None, end: float | None) -> float:
        return 0.0 if estimate is None or end is None else 100 * abs(end - estimate.value)

    hover = [
        "" if e is None else f"{what}: {percent(e.value)} ({span(e.low, e.high) or 'no interval'}), n = {e.n}"
        for e, what in zip(found, said, strict=True)
    ]
    return go.Scatter(
        x=x,
        y=[None if e is None else 100 * e.value for e in found],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [reach(e, e.high if e else None) for e in found],
            "arrayminus": [reach(e, e.low if e else None) for e in found],
            "thickness": 1.4,
            "width": 3,
        },
        mode=mode,
        name=label(arm.label),
        marker={
            "color": arm.colour,
            "symbol": arm.symbol,
            "size": 8,
            "line": {"color": arm.colour, "width": 1.5},
        },
        line={"color": arm.colour, "dash": arm.dash, "width": 1.6},
        hovertext=hover,
        hovertemplate="%{hovertext}<extra>" + label(arm.label) + "</extra>",
    )


def share_axis(figure: go.Figure) -> None:
    """Let the upright axis go from 0 to 100 percent."""
    figure.update_yaxes(
        range=[-4, 104], tickvals=[0, 25, 50, 75, 100], ticktext=["0", "25", "50", "75", "100%"]
    )


def empty_figure() -> go.Figure:
    """A chart without data, in the page's manner."""
    axis: dict[str, Any] = {
        "showline": False,
        "zeroline": False,
        "gridcolor": "#e3e3e3",
        "automargin": True,
        "ticks": "",
        "title": {"font": {"size": 11}, "standoff": 6},
    }
    layout = go.Layout(
        template="none",
        height=HEIGHT,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 12, "color": _INK},
        showlegend=False,
        hovermode="closest",
        xaxis={**axis, "showgrid": False},
        yaxis=axis,
    )
    return go.Figure(layout=layout)
