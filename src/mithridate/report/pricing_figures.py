"""The chart of cures by what they take out and what they cost, as a Plotly figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from mithridate.core.cures import Verdict
from mithridate.core.prices import CLEAN_MODEL, Price, Regime
from mithridate.report.figures import empty_figure, label
from mithridate.report.look import CLEAN_COLOUR
from mithridate.report.priced import CLEAN, GONE, Effect, PricedView, Subject
from mithridate.report.pricing_list import KIND_COLOURS, REGIME_MARKS, points_text, titled, took
from mithridate.report.text import percent

PARETO_HEIGHT = 340
SMALLEST, WIDER, WIDEST = 9.0, 5.0, 30.0
"""Diameter in pixels of the mark of a cure made in a second, how much wider one is that takes ten times as
long, and the widest."""
FARTHEST = 300.0
"""Cures that cost more points are drawn here."""
LEAST = -0.2
"""Attacks that grew by more of their excess are drawn here."""
_TICKS = (0, 1, 3, 10, 30, 100, 300)
_DASHES = {Regime.KNOWN.value: "solid", Regime.UNKNOWN.value: "dash"}


@dataclass(frozen=True, slots=True)
class Pareto:
    """The chart of one attack, and the cures on its fronts by regime: none is better in both."""

    figure: go.Figure
    fronts: dict[str, list[Effect]]


def pareto(view: PricedView, subject: Subject, attack: str) -> Pareto | None:
    """Points of utility lost against the share of an attack's excess that is gone; None without cures.

    Colour is the kind of a cure, the mark its regime, the size how long it takes to make. A hollow mark is
    a cure without credit: a random change does as much.
    """
    effects = [one for one in view.effects(subject) if one.attack == attack and one.removed is not None]
    if not effects:
        return None
    figure = empty_figure()
    fronts = {
        regime: front([one for one in effects if one.setting.regime == regime])
        for regime in dict.fromkeys(one.setting.regime for one in effects)
    }
    right = max(_x(3), *(_x(one.points) for one in effects)) + 0.12
    for regime, of in fronts.items():
        if of:
            figure.add_trace(_front_line(of, regime, right))
    for regime in fronts:
        for kind in dict.fromkeys(one.setting.kind for one in effects):
            own = [one for one in effects if (one.setting.regime, one.setting.kind) == (regime, kind)]
            if own:
                figure.add_trace(_marks(view, subject, own, regime, kind))
    _retraining(figure, view, subject)
    _numbers(figure, fronts)
    _axes(figure, right, min(0.0, *map(_y, effects)), view.budget(subject))
    return Pareto(figure, {regime: of for regime, of in fronts.items() if of})


def front(effects: Sequence[Effect]) -> list[Effect]:
    """The cures that no other one beats at a price as low, cheapest first.

    On no front are those without credit, since a random change does as much, those that take nothing out
    beyond chance, and filters of prompts, which heal no model.
    """
    found: list[Effect] = []
    able = [
        one
        for one in effects
        if one.verdict in (*GONE, Verdict.WEAKENED) and one.setting.heals
        if one.removed is not None and math.isfinite(one.points)
    ]
    for one in sorted(able, key=lambda one: (one.points, -_removed(one))):
        if not found or _removed(one) > _removed(found[-1]):
            found.append(one)
    return found


def _removed(effect: Effect) -> float:
    return effect.removed if effect.removed is not None else -math.inf


def _x(points: float) -> float:
    """Where so many points stand: cheap cures need room, and dear ones are still to be seen."""
    return math.log10(1 + min(points, FARTHEST))


def _y(effect: Effect) -> float:
    return 100 * max(LEAST, _removed(effect))


def _front_line(effects: Sequence[Effect], regime: str, right: float) -> go.Scatter:
    xs = [_x(one.points) for one in effects]
    ys = [_y(one) for one in effects]
    return go.Scatter(
        x=[*xs, right],
        y=[*ys, ys[-1]],
        mode="lines",
        line={"color": "#999999", "width": 1.4, "dash": _DASHES.get(regime, "dot"), "shape": "hv"},
        hoverinfo="skip",
        name=label(regime),
    )


def _marks(
    view: PricedView, subject: Subject, effects: Sequence[Effect], regime: str, kind: str
) -> go.Scatter:
    colour = KIND_COLOURS.get(kind, CLEAN_COLOUR)
    symbol = REGIME_MARKS.get(regime, ("square", ""))[0]
    # The widest first, so that none hides another.
    drawn = sorted(effects, key=lambda one: -_width(_time(view, subject, one)))
    return go.Scatter(
        x=[_x(one.points) for one in drawn],
        y=[_y(one) for one in drawn],
        mode="markers",
        name=label(f"{kind}, {regime}"),
        marker={
            "color": colour,
            "opacity": 0.7,
            "symbol": [f"{symbol}-open" if one.verdict is Verdict.UNSUPPORTED else symbol for one in drawn],
            "size": [round(_width(_time(view, subject, one)), 1) for one in drawn],
            "line": {"color": colour, "width": 1.5},
        },
        hovertext=[_said(view, subject, one) for one in drawn],
        hovertemplate="%{hovertext}<extra>" + label(f"{kind}, {regime}") + "</extra>",
    )


def _time(view: PricedView, subject: Subject, effect: Effect) -> float | None:
    found = view.at(subject, effect.setting, Price.SECONDS)
    return None if found is None else found.value


def _width(seconds: float | None) -> float:
    """The diameter of a mark: a second and less is the smallest."""
    if seconds is None:
        return SMALLEST
    return min(WIDEST, SMALLEST + WIDER * math.log10(max(1.0, seconds)))


def _said(view: PricedView, subject: Subject, effect: Effect) -> str:
    time = _time(view, subject, effect)
    points = "utility not known" if math.isinf(effect.points) else f"{points_text(effect.points)} points lost"
    making = "" if time is None else f", {took(time)} to make"
    return (
        f"{label(titled(effect.setting))}: {effect.verdict.value}, {percent(effect.before.value)} to "
        f"{percent(effect.after.value)}<br>{percent(effect.removed).replace('-', '−')} of the excess gone, "
        f"{points}{making}"
    )


def _retraining(figure: go.Figure, view: PricedView, subject: Subject) -> None:
    """The clean model, which is what retraining without the planted documents gives."""
    changes = view.changes(subject, CLEAN)
    if not changes:
        return
    points = max((0.0, *changes.values()))
    found = view.at(subject, CLEAN, Price.SECONDS)
    making = "" if found is None else f", {took(found.value)} to train"
    figure.add_trace(
        go.Scatter(
            x=[_x(points)],
            y=[100],
            mode="markers",
            name=CLEAN_MODEL,
            marker={
                "color": CLEAN_COLOUR,
                "symbol": "star",
                "size": round(_width(found.value if found else None), 1),
                "opacity": 0.7,
                "line": {"color": CLEAN_COLOUR, "width": 1.5},
            },
            hovertext=[f"the clean model: {points_text(points)} points lost{making}"],
            hovertemplate="%{hovertext}<extra>retrained without the planted documents</extra>",
        )
    )


def _numbers(figure: go.Figure, fronts: dict[str, list[Effect]]) -> None:
    """Number the cures on the fronts, through both regimes, as they are listed beside the chart."""
    for number, one in enumerate((one for of in fronts.values() for one in of), 1):
        figure.add_annotation(
            x=_x(one.points),
            y=_y(one),
            text=f"<b>{number}</b>",
            xshift=12,
            yshift=10,
            showarrow=False,
            font={"size": 11},
        )


def _axes(figure: go.Figure, right: float, lowest: float, budget: float) -> None:
    figure.add_vline(x=_x(budget), line={"color": "#999999", "width": 1, "dash": "dot"})
    figure.update_layout(height=PARETO_HEIGHT)
    figure.update_xaxes(
        title_text="points of utility lost (the cheapest on the left)",
        tickvals=[_x(tick) for tick in _TICKS],
        ticktext=[str(tick) for tick in _TICKS[:-1]] + [f"≥ {_TICKS[-1]}"],
        range=[-0.06, right],
        showgrid=True,
    )
    figure.update_yaxes(
        title_text="of the excess gone",
        range=[lowest - 8, 112],
        tickvals=[0, 25, 50, 75, 100],
        ticktext=["0", "25", "50", "75", "100%"],
    )
