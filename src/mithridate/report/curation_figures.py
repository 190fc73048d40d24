"""The picture of a curation, as a Plotly figure: all examples in grey, the chosen as marks by source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from mithridate.curation.coverage import Coverage
from mithridate.report import look
from mithridate.report.figures import empty_figure, label

HEIGHT = 420
_GREYS = [[0, "rgba(122,122,122,0)"], [0.001, "rgba(122,122,122,.12)"], [1, "rgba(122,122,122,.75)"]]


def covered(coverage: Coverage, names: Sequence[str]) -> go.Figure:
    """How many examples lie where, on a logarithmic scale of greys, and the chosen over them.

    The sources of which most is shown have a colour and a mark each; all others share the last.
    """
    figure = empty_figure()
    figure.add_trace(
        go.Heatmap(
            x=coverage.x.round(4).tolist(),
            y=coverage.y.round(4).tolist(),
            z=np.log1p(coverage.cells).round(3).tolist(),
            customdata=coverage.cells.tolist(),
            hovertemplate="%{customdata} examples<extra></extra>",
            colorscale=_GREYS,
            showscale=False,
        )
    )
    for index, (title, mask) in enumerate(_groups(coverage, names), 1):
        points = coverage.points[mask].round(4)
        figure.add_trace(
            go.Scatter(
                x=points[:, 0].tolist(),
                y=points[:, 1].tolist(),
                mode="markers",
                name=title,
                hovertemplate=f"{title}<extra></extra>",
                marker={"color": look.colour(index), "symbol": look.symbol(index), "size": 6, "opacity": 0.8},
            )
        )
    figure.update_layout(
        height=HEIGHT, showlegend=True, legend={"orientation": "h", "y": -0.12, "itemsizing": "constant"}
    )
    figure.update_xaxes(title_text="first principal component")
    figure.update_yaxes(title_text="second principal component")
    return figure


def _groups(coverage: Coverage, names: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    most = len(look.COLOURS)
    shown, counts = np.unique(coverage.sources, return_counts=True)
    ordered = shown[np.argsort(-counts, kind="stable")]
    own = ordered if len(ordered) <= most else ordered[: most - 1]
    groups = [(label(names[source]), coverage.sources == source) for source in own.tolist()]
    if len(own) < len(ordered):
        groups.append(("other sources", ~np.isin(coverage.sources, own)))
    return groups
