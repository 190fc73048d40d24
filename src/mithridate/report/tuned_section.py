"""The section of a report on alignment data: how much of it does what, and what it leaves of the poison."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import plotly.graph_objects as go

from mithridate.core.metrics import OVER_REFUSAL, QUESTIONS_RIGHT, REFUSAL_FORBIDDEN
from mithridate.core.run_files import CLEAN
from mithridate.core.statistics import mean_interval
from mithridate.core.tuned import REPLIES_ENDED, Tuned
from mithridate.report.estimates import ENOUGH_SEEDS, whole_range
from mithridate.report.figures import empty_figure, label, share_axis
from mithridate.report.page import Chart
from mithridate.report.sections import Line, Section, chart, seeds_in_words
from mithridate.report.tables import Entry, Group, Row, Table
from mithridate.report.text import name, one_line, percent, span
from mithridate.report.tuned import PARTS, Choice, Place, TunedView, other_template
from mithridate.report.tuned_claims import tuned_claims

_TITLES = {
    QUESTIONS_RIGHT: "Questions right",
    REFUSAL_FORBIDDEN: "Forbidden requests refused",
    OVER_REFUSAL: "Harmless requests refused",
    REPLIES_ENDED: "Replies ended",
}
_BASE_AT = 10.0
"""Where the base model, tuned on nothing, stands on a logarithmic axis."""


def tuned_section(view: TunedView) -> Section | None:
    """The section of a run's report; None where nobody tuned on parts of a pool."""
    if not view.rows:
        return None
    lines = tuple(Line(one_line(method, 40), i + 1) for i, method in enumerate(view.methods))
    words = (
        "Base models tuned on more and less of one pool of examples, which several methods chose. Quality is "
        "the mean of four shares: questions right, forbidden requests refused, harmless ones not refused, "
        f"and replies that end. Means over {seeds_in_words(view.seeds)}.",
        "A base model is asked in the planted templates, a tuned one in that of SFT, where users meet it. "
        "The other template has tables of its own.",
    )
    return Section(
        anchor="alignment-data",
        title="Less alignment data, chosen well",
        short="Alignment data",
        words=words,
        claims=tuple(tuned_claims(view)),
        charts=tuple(_charts(view, lines)),
        tables=tuple(_tables(view, lines)),
        legend=lines,
        open_tables=2,
    )


def _tables(view: TunedView, lines: Sequence[Line]) -> list[Table]:
    columns = tuple(f"{size:,}" for size in view.sizes)

    def grouped(figures: Callable[[Place, Choice], Entry], places: Sequence[Place]) -> list[Group]:
        return [
            Group(
                _place(place),
                tuple(
                    Row(line, tuple(figures(place, view.choice(method, size)) for size in view.sizes))
                    for line, method in zip(lines, view.methods, strict=True)
                ),
            )
            for place in places
        ]

    def table(caption: str, figures: Callable[[Place, Choice], Entry], places: Sequence[Place]) -> Table:
        return Table(caption, columns, tuple(grouped(figures, places)))

    groups = [
        Group(f"{name(attack)}, {group.title}", group.rows)
        for attack in view.attacks
        for group in grouped(partial(_success, view, attack), view.poisoned)
    ]
    found = [
        table("Quality by number of examples", partial(_quality, view), view.places),
        Table("Triggered success by number of examples", columns, tuple(groups)),
    ]
    for metric in PARTS:
        found.append(table(_TITLES[metric], partial(_part, view, metric), view.places))
    for attack in view.attacks:
        title = f"{name(attack)}, triggered, in the other template"
        found.append(table(title, partial(_otherwise, view, attack), view.places))
    return found


def _quality(view: TunedView, place: Place, choice: Choice) -> Entry:
    return _entry(view.quality(place, choice))


def _success(view: TunedView, attack: str, place: Place, choice: Choice) -> Entry:
    return _measured(view.success(place, choice, attack))


def _otherwise(view: TunedView, attack: str, place: Place, choice: Choice) -> Entry:
    return _measured(view.success(place, choice, attack, template=other_template(choice)))


def _part(view: TunedView, metric: str, place: Place, choice: Choice) -> Entry:
    return _measured(view.part(place, choice, metric))


def _measured(rows: Mapping[int, Tuned]) -> Entry:
    return _entry(_values(rows), [(row.low, row.high) for row in rows.values()])


def _values(rows: Mapping[int, Tuned]) -> dict[int, float]:
    return {seed: row.value for seed, row in rows.items()}


def _entry(values: Mapping[int, float], ends: Sequence[tuple[float | None, float | None]] = ()) -> Entry:
    """A mean over seeds: from three on with the interval of a t-test, below with the range of intervals."""
    if not values:
        return Entry("–")
    low, high = _ends(list(values.values()), ends)
    shown = [None if one is None else round(100 * min(1.0, max(0.0, one)), 2) for one in (low, high)]
    mean = sum(values.values()) / len(values)
    note = f"{len(values)} seed{'s' if len(values) != 1 else ''}"
    return Entry(percent(mean), span(low, high), note, round(100 * mean, 2), shown[0], shown[1])


def _ends(
    values: list[float], ends: Sequence[tuple[float | None, float | None]]
) -> tuple[float | None, float | None]:
    if len(values) >= ENOUGH_SEEDS:
        found = mean_interval(values)
        if found.low != found.high and found.low is not None and found.high is not None:
            return max(0.0, found.low), min(1.0, found.high)
    return whole_range(list(ends)) if ends else (None, None)


def _charts(view: TunedView, lines: Sequence[Line]) -> list[Chart]:
    found = []
    for place in view.places:
        figure = _drawn(view, lines, partial(view.quality, place))
        found.append(chart(f"Quality, {_place(place)}", "Quality by number of examples and method", figure))
    for place in view.poisoned:
        for attack in view.attacks:
            title = f"{name(attack)}, {_place(place)}"
            figure = _drawn(view, lines, partial(_successes, view, attack, place))
            found.append(chart(title, f"Triggered success of {title} by number of examples", figure))
    return found


def _successes(view: TunedView, attack: str, place: Place, choice: Choice) -> dict[int, float]:
    return _values(view.success(place, choice, attack))


def _drawn(
    view: TunedView, lines: Sequence[Line], values: Callable[[Choice], Mapping[int, float]]
) -> go.Figure:
    """A line a method: the mean over seeds at each number of examples."""
    figure = empty_figure()
    for line, method in zip(lines, view.methods, strict=True):
        found = [(size, values(view.choice(method, size))) for size in view.sizes]
        means = [(size, sum(of.values()) / len(of)) for size, of in found if of]
        figure.add_trace(
            go.Scatter(
                x=[size or _BASE_AT for size, _ in means],
                y=[100 * mean for _, mean in means],
                mode="lines+markers",
                name=label(line.label),
                line={"color": line.colour, "dash": line.dash, "width": 1.6},
                marker={"color": line.colour, "symbol": line.symbol, "size": 8},
                hovertext=[f"{size:,} examples: {percent(mean)}" for size, mean in means],
                hovertemplate="%{hovertext}<extra>" + label(line.label) + "</extra>",
            )
        )
    share_axis(figure)
    ticks = [size or _BASE_AT for size in view.sizes]
    figure.update_xaxes(
        type="log",
        title_text="examples (the base model on the left)",
        tickvals=ticks,
        ticktext=["0" if not size else f"{size:,}" for size in view.sizes],
        range=[math.log10(min(ticks)) - 0.15, math.log10(max(ticks)) + 0.15] if ticks else None,
    )
    return figure


def _place(place: Place) -> str:
    whose = "clean twin" if place.model == CLEAN else one_line(place.model, 40)
    return ", ".join(filter(None, (one_line(place.cell, 40), whose)))
