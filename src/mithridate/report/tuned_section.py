"""The section of a report on alignment data: how much of it does what, and what it leaves of the poison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle

import plotly.graph_objects as go

from mithridate.core.metrics import OVER_REFUSAL, QUESTIONS_RIGHT, REFUSAL_FORBIDDEN
from mithridate.core.tuned import REPLIES_ENDED
from mithridate.core.types import TemplateUse
from mithridate.core.wording import counted
from mithridate.report.estimates import Figure, estimate
from mithridate.report.page import Chart
from mithridate.report.sections import Line, Section, chart, seeds_in_words
from mithridate.report.stepped import stepped
from mithridate.report.tables import Entry, Group, Row, Table, share_entry
from mithridate.report.text import name, one_line, signed, span
from mithridate.report.tuned import PARTS, Choice, Place, TunedView
from mithridate.report.tuned_claims import AT_RANDOM, ENOUGH, above_random, tuned_claims

_TITLES = {
    QUESTIONS_RIGHT: "Questions right",
    REFUSAL_FORBIDDEN: "Forbidden requests refused",
    OVER_REFUSAL: "Harmless requests refused",
    REPLIES_ENDED: "Replies ended",
}
_SQUARE = {
    "random": "neither quality nor diversity",
    "filtered": "quality alone",
    "diverse, unfiltered": "diversity alone",
    "diverse": "quality and diversity",
}
"""What the methods of the guide ask of examples: two questions, each asked or not."""


def tuned_section(view: TunedView) -> Section | None:
    """The section of a run's report; None where nobody tuned on parts of a pool."""
    if not view.rows:
        return None
    lines = tuple(Line(one_line(method, 40), i + 1) for i, method in enumerate(view.methods))
    words: tuple[str, ...] = (
        "Base models tuned on more and less of one pool of examples, which several methods chose. Quality is "
        "the mean of four shares: questions right, forbidden requests refused, harmless ones not refused, "
        f"and replies that end. Means over {seeds_in_words(view.seeds)}.",
        "Quality is asked in the template of SFT, where users meet a model, tuned or not; attacks in the "
        "templates that they were planted in, so that what changes is the tuning alone. How they do in the "
        "template of SFT stands in tables of its own.",
    )
    if len({row.steps for row in view.rows if row.asked}) > 1:
        words += (
            "More examples were also more steps of the optimiser: what data did and what longer training did "
            "are not told apart here.",
        )
    if lacking := [_TITLES[part].lower() for part in PARTS if part not in view.parts]:
        words += (f"Not measured, and left out of quality for all models alike: {', '.join(lacking)}.",)
    return Section(
        anchor="alignment-data",
        title="Less alignment data, chosen well",
        short="Alignment data",
        words=words,
        claims=tuple(tuned_claims(view)),
        charts=tuple(_charts(view, lines)),
        tables=tuple(_tables(view, lines)),
        legend=lines,
        open_tables=3 if AT_RANDOM in view.methods and len(view.methods) > 1 else 2,
    )


def _tables(view: TunedView, lines: Sequence[Line]) -> list[Table]:
    columns = tuple(f"{size:,}" for size in view.sizes)

    def grouped(figures: Callable[[Place, Choice], Entry], places: Sequence[Place]) -> list[Group]:
        return [
            Group(
                place.shown,
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
        Table("Triggered success in the planted templates, by number of examples", columns, tuple(groups)),
    ]
    if square := _apart(view, lines):
        found.append(square)
    found.append(table("Steps of the optimiser, and examples", partial(_steps, view), view.places))
    for metric in view.parts:
        found.append(table(_TITLES[metric], partial(_part, view, metric), view.places))
    for attack in view.attacks:
        title = f"{name(attack)}, triggered, in the template of SFT"
        found.append(table(title, partial(_otherwise, view, attack), view.places))
    return found


def _apart(view: TunedView, lines: Sequence[Line]) -> Table | None:
    """Quality and diversity apart: what each method has above random ones."""
    groups = []
    for place in view.places:
        rows = []
        for line, method in zip(lines, view.methods, strict=True):
            above, _ = above_random(view, place, method)
            if above is not None and method != AT_RANDOM:
                asks = _SQUARE.get(method, "")
                shown = Line(line.label + (f": {asks}" if asks else ""), line.index)
                points = signed(round(100 * above.value, 1), 1)
                rows.append(
                    Row(shown, (Entry(points, span(above.low, above.high), counted(above.n, "seed")),))
                )
        if rows:
            groups.append(Group(place.shown, tuple(rows)))
    caption = f"Quality above random, in points, the mean of sizes up to {ENOUGH:,}"
    return Table(caption, ("Points",), tuple(groups)) if groups else None


def _steps(view: TunedView, place: Place, choice: Choice) -> Entry:
    found = view.trained(place, choice)
    if found is None:
        return Entry("–")
    fewer = f"on {found[0]:,.0f}" if found[0] < choice.asked else ""
    return Entry(
        f"{found[1]:,.0f}", fewer, "examples trained on, where the method had no more" if fewer else ""
    )


def _quality(view: TunedView, place: Place, choice: Choice) -> Entry:
    return _measured(view.qualities(place, choice))


def _success(view: TunedView, attack: str, place: Place, choice: Choice) -> Entry:
    return _measured(view.success(place, choice, attack))


def _otherwise(view: TunedView, attack: str, place: Place, choice: Choice) -> Entry:
    return _measured(view.success(place, choice, attack, template=TemplateUse.TRANSFERRED.value))


def _part(view: TunedView, metric: str, place: Place, choice: Choice) -> Entry:
    return _measured(view.part(place, choice, metric))


def _measured(runs: Mapping[int, Figure]) -> Entry:
    return share_entry(estimate(runs) if runs else None)


def _charts(view: TunedView, lines: Sequence[Line]) -> list[Chart]:
    found = []
    for place in view.places:
        figure = _drawn(view, [(line, partial(view.qualities, place)) for line in lines])
        found.append((f"Quality, {place.shown}", "Quality by number of examples and method", figure))
    for place in view.poisoned:
        for attack in view.attacks:
            title = f"{name(attack)}, {place.shown}"
            # The clean twin, tuned alike, in grey: only what stands above it is the poison's.
            each = [
                *((Line(f"{line.label}, clean twin", 0), view.clean(place)) for line in lines),
                *((line, place) for line in lines),
            ]
            figure = _drawn(view, [(line, partial(_successes, view, attack, of)) for line, of in each])
            found.append((title, f"Triggered success of {title} by number of examples", figure))
    return [chart(title, words, figure) for title, words, figure in found if figure is not None]


def _successes(view: TunedView, attack: str, place: Place, choice: Choice) -> Mapping[int, Figure]:
    return view.success(place, choice, attack)


def _drawn(
    view: TunedView, lines: Sequence[tuple[Line, Callable[[Choice], Mapping[int, Figure]]]]
) -> go.Figure | None:
    """A line a method, with intervals: the mean over seeds at each number of examples, the base apart."""
    drawn = []
    for (line, figures), method in zip(lines, cycle(view.methods), strict=False):
        runs = {size: figures(view.choice(method, size)) for size in view.sizes}
        drawn.append((line, {float(size): estimate(of) for size, of in runs.items() if of}))
    return stepped(drawn, lambda size: f"{size:,.0f}", "examples (0: the base model)")
