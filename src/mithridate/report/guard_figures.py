"""The charts of a benchmark of defences, as Plotly figures; all their numbers are in tables beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from mithridate.report.figures import empty_figure, label, share_axis
from mithridate.report.guard_tables import at_k, heads, milliseconds
from mithridate.report.guard_view import Assault, Compared, GuardView, score
from mithridate.report.text import percent, span
from mithridate.retrieval.measuring.records import NDCG_DEPTH, Figure

TRADE_OFF_HEIGHT = 420
SMALLEST, WIDER = 9.0, 7.0
"""Diameter of the mark of the quickest defence in pixels, and how much wider one is that takes ten times as
long."""
_NEAR_X, _NEAR_Y = 0.012, 2.5
"""Marks nearer than this share of the width and this many percent share one label."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """One defence under one attack: where it stands, in nDCG and percent, how wide it is, what it says."""

    defense: Compared
    x: float
    y: float
    diameter: float
    hover: str


def trade_off(view: GuardView, copies: int) -> go.Figure | None:
    """Success of the attacks against clean nDCG, a series an attack, a mark a defence, its size the time.

    None where no question was judged, or no attack has so many copies.
    """
    series = {attack: _marks(view, Assault(attack.key, copies)) for attack in view.attacks}
    xs = [mark.x for marks in series.values() for mark in marks]
    if not xs:
        return None
    figure = empty_figure()
    width = max(max(xs) - min(xs), 0.02)
    for attack, marks in series.items():
        # The widest first, so that none hides another.
        ordered = sorted(marks, key=lambda mark: -mark.diameter)
        figure.add_trace(_trace(attack, ordered))
        _label(figure, ordered, width)
    share_axis(figure)
    figure.update_layout(height=TRADE_OFF_HEIGHT)
    figure.update_yaxes(title_text=f"ASR@{view.quoted_k}")
    figure.update_xaxes(
        title_text=f"nDCG@{NDCG_DEPTH} on the clean corpus",
        tickformat=".3f",
        nticks=7,
        range=[min(xs) - 0.08 * width, max(xs) + 0.12 * width],
        showgrid=True,
    )
    return figure


def _marks(view: GuardView, assault: Assault) -> list[_Mark]:
    quickest = min(_time(view, defense) for defense in view.defenses)
    marks = []
    for defense in view.defenses:
        quality, at = view.clean(defense).ndcg, view.attacked_at(defense, assault, view.quoted_k)
        if quality is None or at is None:
            continue
        time = _time(view, defense)
        ends = "no interval" if quality.low is None else f"{score(quality.low)}–{score(quality.high)}"
        hover = (
            f"{defense.index} {label(defense.key)}: ASR@{view.quoted_k} {_with_interval(at.asr)}, "
            f"nDCG {score(quality.value)} ({ends}), {milliseconds(time)} ms"
        )
        diameter = SMALLEST + WIDER * math.log10(time / quickest)
        marks.append(_Mark(defense, quality.value, 100 * at.asr.value, diameter, hover))
    return marks


def _time(view: GuardView, defense: Compared) -> float:
    """Milliseconds of a query; clocks do not tell less than a thousandth of one."""
    return max(view.clean(defense).cost.ms_median, 1e-3)


def _trace(attack: Compared, marks: Sequence[_Mark]) -> go.Scatter:
    return go.Scatter(
        x=[mark.x for mark in marks],
        y=[mark.y for mark in marks],
        mode="markers",
        name=label(attack.key),
        marker={
            "color": attack.colour,
            "symbol": attack.symbol,
            "size": [round(mark.diameter, 1) for mark in marks],
            "opacity": 0.55,
            "line": {"color": attack.colour, "width": 1.5},
        },
        hovertext=[mark.hover for mark in marks],
        hovertemplate="%{hovertext}<extra>" + label(attack.key) + "</extra>",
    )


def _label(figure: go.Figure, marks: Sequence[_Mark], width: float) -> None:
    """Put the numbers of the defences beside their marks, those of marks that lie on each other together."""
    groups: list[list[_Mark]] = []
    for mark in sorted(marks, key=lambda one: one.defense.index):
        near = (
            group
            for group in groups
            if abs(group[0].x - mark.x) < _NEAR_X * width and abs(group[0].y - mark.y) < _NEAR_Y
        )
        if (group := next(near, None)) is not None:
            group.append(mark)
        else:
            groups.append([mark])
    for group in groups:
        figure.add_annotation(
            x=group[0].x,
            y=group[0].y,
            text=" ".join(str(mark.defense.index) for mark in group),
            xshift=max(mark.diameter for mark in group) / 2 + 2,
            xanchor="left",
            showarrow=False,
            font={"size": 11},
        )


def by_copies(view: GuardView, attack: Compared) -> go.Figure | None:
    """Success of one attack by planted documents a question, a line a defence; None for a single number."""
    if len(view.copies) < 2:
        return None
    figure = empty_figure()
    for i, defense in enumerate(view.defenses):
        found = [view.attacked_at(defense, Assault(attack.key, n), view.quoted_k) for n in view.copies]
        rates = [None if at is None else at.asr for at in found]
        figure.add_trace(_line(defense, _beside(i, view), rates))
    _places(figure, [str(n) for n in view.copies])
    figure.update_xaxes(title_text="planted documents a question")
    return figure


def by_length(view: GuardView, assault: Assault) -> go.Figure | None:
    """Success of one attack by words of what it plants, a line a defence; None without thirds."""
    found = [(defense, view.attacked(defense, assault)) for defense in view.defenses]
    known = [(defense, result.by_length) for defense, result in found if result is not None]
    if not known or len(known[0][1]) < 2:
        return None
    figure = empty_figure()
    for i, (defense, bands) in enumerate(known):
        rates = [at_k(band.asr, view.quoted_k) for band in bands]
        figure.add_trace(_line(defense, _beside(i, view), rates))
    _places(figure, [head.removesuffix(" words") for head in heads(known[0][1])])
    figure.update_xaxes(title_text="words of the planted documents")
    return figure


def _beside(i: int, view: GuardView) -> float:
    """How far a defence stands from the middle of its place, so that equal figures do not hide each other."""
    count = len(view.defenses)
    return (i - (count - 1) / 2) * min(0.07, 0.5 / max(1, count - 1))


def _line(defense: Compared, shift: float, found: Sequence[Figure | None]) -> go.Scatter:
    hover = [
        ""
        if one is None
        else f"{percent(one.value)} ({span(one.low, one.high) or 'no interval'}), n = {one.n}"
        for one in found
    ]
    return go.Scatter(
        x=[i + shift for i in range(len(found))],
        y=[None if one is None else 100 * one.value for one in found],
        mode="lines+markers",
        name=label(defense.key),
        marker={"color": defense.colour, "symbol": defense.symbol, "size": 7},
        line={"color": defense.colour, "dash": defense.dash, "width": 1.4},
        hovertext=hover,
        hovertemplate="%{hovertext}<extra>" + label(defense.key) + "</extra>",
    )


def _with_interval(figure: Figure) -> str:
    return f"{percent(figure.value)} ({span(figure.low, figure.high) or 'no interval'})"


def _places(figure: go.Figure, names: Sequence[str]) -> None:
    share_axis(figure)
    figure.update_xaxes(
        tickvals=list(range(len(names))), ticktext=list(names), range=[-0.4, len(names) - 0.6], tickangle=0
    )
