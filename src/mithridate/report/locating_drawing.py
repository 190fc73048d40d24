"""How charts over layers and places are drawn: curves with intervals, and maps with a figure in each cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from mithridate.report.estimates import Estimate
from mithridate.report.figures import empty_figure, label
from mithridate.report.text import number, percent, span

# From nothing to all of an effect; below nothing in another hue. Readable on light and dark paper.
SHARES = ((0.0, "#d9a441"), (0.5, "#f2efe9"), (1.0, "#0b5c8a"))
FARTHEST = 50.0
"""So many points below nothing and beyond all of an effect are drawn."""
AMOUNTS = ((0.0, "#f2efe9"), (1.0, "#0b5c8a"))


@dataclass(frozen=True, slots=True)
class Line:
    """How a curve is drawn."""

    name: str
    colour: str
    symbol: str = "circle"
    dash: str = "solid"
    shift: float = 0.0


def curve(
    names: Mapping[int, str],
    found: Mapping[int, Estimate],
    line: Line,
    said: Callable[[float | None], str] = percent,
    *,
    mode: str = "lines+markers",
    scale: float | None = None,
) -> go.Scatter:
    """A line over layers or places, with intervals; shares are drawn in percent."""
    by = scale if scale is not None else (100.0 if said is percent else 1.0)

    def reach(estimate: Estimate, end: float | None) -> float:
        return 0.0 if end is None else by * abs(end - estimate.value)

    return go.Scatter(
        x=[layer + line.shift for layer in found],
        y=[by * estimate.value for estimate in found.values()],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [reach(e, e.high) for e in found.values()],
            "arrayminus": [reach(e, e.low) for e in found.values()],
            "thickness": 1.2,
            "width": 2,
            "color": line.colour,
        },
        mode=mode,
        name=label(line.name),
        marker={
            "color": line.colour,
            "symbol": line.symbol,
            "size": 7,
            "line": {"color": line.colour, "width": 1.5},
        },
        line={"color": line.colour, "dash": line.dash, "width": 1.6},
        hovertext=[
            f"{label(names.get(layer, str(layer)))}: {said(e.value)} ({_range(e, said)}), n = {e.n}"
            for layer, e in found.items()
        ],
        hovertemplate="%{hovertext}<extra>" + label(line.name) + "</extra>",
    )


def _range(estimate: Estimate, said: Callable[[float | None], str]) -> str:
    if estimate.low is None or estimate.high is None:
        return "no interval"
    if said is percent:
        return span(estimate.low, estimate.high)
    return f"{said(estimate.low)} to {said(estimate.high)}"


def nats(value: float | None) -> str:
    """A figure that is no share, with a proper minus."""
    return number(value).replace("-", "−")


def fine_percent(value: float | None) -> str:
    """A share in percent, to two significant digits where it is small."""
    if value is None or not math.isfinite(value):
        return percent(value)
    return f"{100 * value:.0f}%" if abs(value) >= 0.1 else f"{100 * value:.2g}%"


def whole_percent(value: float | None) -> str:
    """A share in whole percent, for the cell of a map; what rounds to nothing has no sign."""
    return percent(value) if value is None or not math.isfinite(value) else f"{round(100 * value)}%"


def heat(
    cells: Sequence[Sequence[Estimate | None]],
    columns: Sequence[str],
    rows: Sequence[str],
    said: Callable[[float | None], str],
    colours: Sequence[tuple[float, str]],
) -> go.Figure:
    """A map of figures, each written into its cell."""
    figure = empty_figure()
    xs, ys = [label(column) for column in columns], [label(row) for row in rows]
    figure.add_trace(
        go.Heatmap(
            x=list(range(len(xs))),
            y=list(range(len(ys))),
            z=[[None if e is None else e.value for e in row] for row in cells],
            text=[
                ["" if e is None else said(e.value).replace("-", "−").removesuffix("%") for e in row]
                for row in cells
            ],
            texttemplate="%{text}",
            textfont={"size": 10},
            hovertext=[
                [
                    "" if e is None else f"{y}, {x}: {said(e.value)} ({_range(e, said)})"
                    for x, e in zip(xs, row, strict=True)
                ]
                for y, row in zip(ys, cells, strict=True)
            ],
            hovertemplate="%{hovertext}<extra></extra>",
            colorscale=[list(stop) for stop in colours],
            showscale=False,
            xgap=1,
            ygap=1,
        )
    )
    ticks: dict[str, Any] = {"showgrid": False, "tickfont": {"size": 10}, "tickangle": 0}
    figure.update_xaxes(tickvals=list(range(len(xs))), ticktext=[_broken(x) for x in xs], **ticks)
    figure.update_yaxes(tickvals=list(range(len(ys))), ticktext=ys, autorange="reversed", **ticks)
    return figure


def _broken(text: str) -> str:
    return text.replace(" ", "<br>").replace("embeddings", "emb.")


def layer_axis(figure: go.Figure, names: Mapping[int, str]) -> None:
    """Let the level axis name layers, a dozen at most."""
    every = -(-len(names) // 12)
    shown = [layer for i, layer in enumerate(names) if i % every == 0]
    figure.update_xaxes(
        tickvals=shown,
        ticktext=[_broken(label(names[layer])) for layer in shown],
        tickangle=0,
        tickfont={"size": 11},
        range=[min(names, default=0) - 0.5, max(names, default=0) + 0.5],
    )


def carried_axis(figure: go.Figure) -> None:
    """Share of an effect: nothing to all of it, and somewhat below and beyond where figures go there.

    Where an effect is small, intervals of its shares are huge; they are cut by the chart, and not in tables.
    """
    ends = [0.0, 100.0]
    for trace in figure.data:
        ends += [y + reach for y, reach in zip(trace.y, trace.error_y.array, strict=True)]
        ends += [y - reach for y, reach in zip(trace.y, trace.error_y.arrayminus, strict=True)]
    low, high = max(min(ends), -FARTHEST), min(max(ends), 100 + FARTHEST)
    figure.update_yaxes(range=[low - 6, high + 6], ticksuffix="%", zeroline=True, zerolinecolor="#b5b5b5")
