"""The section of a report on contexts against priors: what prompts override, and what interventions do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import plotly.graph_objects as go

from mithridate.core.contexts import Conflict, ContextMetric, Strength, Wording
from mithridate.core.exposure_fit import NoFit
from mithridate.core.statistics import Interval
from mithridate.report.contexts import ALL_EXPOSURES, AS_IT_IS, Case, ContextView, Means, Place
from mithridate.report.contexts_claims import context_claims
from mithridate.report.contexts_words import COLUMNS, HALVES, LEGEND, coverage_words
from mithridate.report.figures import empty_figure, label, share_axis
from mithridate.report.page import Chart
from mithridate.report.sections import Line, Section, chart, seeds_in_words
from mithridate.report.tables import Entry, Group, Row, Table, share_entry
from mithridate.report.text import number, one_line, percent, subject_line

_CURVE_POINTS = 40
_EXPLAINED = (
    "Prompts state something else than what the model has learnt, in the fact's own sentence (substituted) "
    "or in a passage that fits (coherent). Figures are over facts that the model answers right without a "
    "context, or, under “facts it does not know”, over those of which it gives neither answer: that shows "
    f"whether it reads contexts at all. {LEGEND}"
)


def contexts_section(view: ContextView, *, study: bool = True) -> Section | None:
    """The section of a run's report; None where nobody asked against the weights.

    Without `study`, of one checkpoint, of which nobody knows with which seeds it was trained.
    """
    if not view.rows and not view.coverage:
        return None
    lines = tuple(Line(strength.value, i + 1) for i, strength in enumerate(view.strengths))
    tables = list(_tables(view, lines))
    return Section(
        anchor="contexts",
        title="Does it believe its prompt or its weights?",
        short="Contexts",
        words=tuple(_words(view, study=study)),
        claims=tuple(context_claims(view)),
        charts=tuple(_charts(view, lines)),
        tables=tuple(tables),
        legend=lines,
        open_tables=min(len(tables), 2 * len(view.conflicts) * len(view.places)),
        whose="Prompt",
    )


def _words(view: ContextView, *, study: bool) -> Iterator[str]:
    yield _EXPLAINED
    if any(row.intervention for row in view.rows):
        yield HALVES
    yield from coverage_words(view.coverage)
    if study:
        yield f"It rests on {seeds_in_words(view.seeds)}."


def _charts(view: ContextView, lines: Sequence[Line]) -> Iterator[Chart]:
    for place in view.places:
        if len(view.exposures(place)) < 2:
            continue
        for conflict in view.conflicts:
            about = subject_line(*place, conflict)
            for metric, title in (
                (ContextMetric.SUBSTITUTE, "Answered from the context"),
                (ContextMetric.MEMORIZATION_RATIO, "Memorization ratio"),
            ):
                words = f"{title} against exposures, a line a prompt"
                yield chart(f"{title}, {about}", words, _drawn(view, lines, place, conflict, metric))


def _drawn(
    view: ContextView, lines: Sequence[Line], place: Place, conflict: Conflict, metric: ContextMetric
) -> go.Figure:
    figure = empty_figure()
    exposures = view.exposures(place)
    for line, strength in zip(lines, view.strengths, strict=True):
        found = [
            (exposure, share)
            for exposure in exposures
            if (share := view.figure(place, Case(exposure, conflict, strength), metric))
        ]
        said = [f"{exposure:,} times: {percent(share.value)}" for exposure, share in found]
        fitted = metric is ContextMetric.SUBSTITUTE and _add_curve(
            figure, view, line, place, conflict, strength
        )
        figure.add_trace(
            go.Scatter(
                x=[exposure for exposure, _ in found],
                y=[100 * share.value for _, share in found],
                # A curve is drawn for itself: dots joined besides would be two lines of one colour.
                mode="markers" if fitted else "lines+markers",
                name=label(line.label),
                line={"color": line.colour, "dash": line.dash, "width": 1.6},
                marker={"color": line.colour, "symbol": line.symbol, "size": 8},
                hovertext=said,
                hovertemplate="%{hovertext}<extra>" + label(line.label) + "</extra>",
            )
        )
    share_axis(figure)
    figure.update_xaxes(title_text="times stated in training", type="log", tickvals=exposures)
    figure.update_xaxes(ticktext=[f"{exposure:,}" for exposure in exposures])
    return figure


def _add_curve(
    figure: go.Figure, view: ContextView, line: Line, place: Place, conflict: Conflict, strength: Strength
) -> bool:
    fit = view.fit(place, conflict, strength)
    if isinstance(fit, NoFit):
        return False
    exposures = view.exposures(place)
    ends = math.log10(exposures[0]), math.log10(exposures[-1])
    at = [float(10**log) for log in np.linspace(*ends, _CURVE_POINTS)]
    figure.add_trace(
        go.Scatter(
            x=at,
            y=[100 * fit.share(exposure) for exposure in at],
            mode="lines",
            line={"color": line.colour, "dash": line.dash, "width": 1.4},
            hoverinfo="skip",
        )
    )
    return True


def _tables(view: ContextView, lines: Sequence[Line]) -> Iterator[Table]:
    each = [(place, conflict) for place in view.places for conflict in view.conflicts]
    for place, conflict in each:
        yield by_prompt(view, lines, place, conflict)
    for place, conflict in each:
        yield _by_means(view, place, conflict)
    for place, conflict in each:
        yield _by_exposure(view, lines, place, conflict)
        yield _fits(view, lines, place, conflict)
    yield _known(view)


def by_prompt(view: ContextView, lines: Sequence[Line], place: Place, conflict: Conflict) -> Table:
    """What is said at each strength, where the prior is strongest; of all facts, where nobody counted."""
    groups = tuple(
        Group(
            f"Stated {exposure:,} times" if exposure else "All facts",
            tuple(
                Row(
                    Line(strength.value, index),
                    tuple(_entries(view, place, exposure, conflict, strength, AS_IT_IS)),
                )
                for index, strength in enumerate(view.prompts, 1)
            ),
        )
        for exposure in (view.exposures(place)[::-1] or [0])[:1]
    )
    unknown = tuple(Row(line, _read(view, place, conflict, line)) for line in lines)
    if any(entry.value is not None for row in unknown for entry in row.entries):
        groups = (*groups, Group("Facts it does not know", unknown))
    return Table(f"Prompts, {subject_line(*place, conflict)}", tuple(head for head, _, _ in COLUMNS), groups)


def _read(view: ContextView, place: Place, conflict: Conflict, line: Line) -> tuple[Entry, ...]:
    """What is answered from the context where nothing stands against it; other figures mean nothing there."""
    return tuple(
        share_entry(
            view.figure(
                place,
                Case(ALL_EXPOSURES, conflict, Strength(line.label), wording),
                ContextMetric.READ,
            )
            if metric is ContextMetric.SUBSTITUTE
            else None
        )
        for _, metric, wording in COLUMNS
    )


def _by_means(view: ContextView, place: Place, conflict: Conflict) -> Table:
    """Interventions at the strongest prior, each with its best prompt, and what stands in its place."""
    exposure = (view.exposures(place) or [0])[-1]
    rows = []
    for index, means in enumerate((AS_IT_IS, *view.interventions(place))):
        # Facts of one's own need not have other words.
        best = view.best(place, exposure, conflict, means=means) or view.best(
            place, exposure, conflict, Wording.ASKED, means
        )
        strength = best[0] if best else Strength.PLAIN
        rows.append(
            Row(
                Line(_called(means), index),
                tuple(_entries(view, place, exposure, conflict, strength, means)),
                strength.value,
            )
        )
    told = f"stated {exposure:,} times" if exposure else "all facts"
    groups = (Group(f"Each with its best prompt, facts {told}", tuple(rows)),) if len(rows) > 1 else ()
    heads = tuple(head for head, _, _ in COLUMNS)
    return Table(f"Interventions and their controls, {subject_line(*place, conflict)}", heads, groups)


def _entries(
    view: ContextView, place: Place, exposure: int, conflict: Conflict, strength: Strength, means: Means
) -> Iterator[Entry]:
    for _, metric, wording in COLUMNS:
        case = Case(exposure, conflict, strength, wording)
        yield share_entry(view.figure(place, case, metric, means))


def _by_exposure(view: ContextView, lines: Sequence[Line], place: Place, conflict: Conflict) -> Table:
    exposures = view.exposures(place)

    def rows(metric: ContextMetric) -> tuple[Row, ...]:
        return tuple(
            Row(
                line,
                tuple(
                    share_entry(view.figure(place, Case(exposure, conflict, strength), metric))
                    for exposure in exposures
                ),
            )
            for line, strength in zip(lines, view.strengths, strict=True)
        )

    groups = (
        Group("Answered from the context, in other words", rows(ContextMetric.SUBSTITUTE)),
        Group("Memorization ratio, in other words", rows(ContextMetric.MEMORIZATION_RATIO)),
    )
    heads = tuple(f"{exposure:,}" for exposure in exposures)
    return Table(f"By times stated, {subject_line(*place, conflict)}", heads, groups if exposures else ())


def _fits(view: ContextView, lines: Sequence[Line], place: Place, conflict: Conflict) -> Table:
    rows = []
    for line, strength in zip(lines, view.strengths, strict=True):
        fit = view.fit(place, conflict, strength)
        if isinstance(fit, NoFit):
            rows.append(Row(line, (Entry("–", "", f"not fitted: {fit.reason}"), Entry("–"))))
        else:
            rows.append(Row(line, (_plain(fit.slope), _plain(fit.half))))
    heads = ("log-odds for ten times as many", "half at")
    caption = f"Logistic curve over times stated, {subject_line(*place, conflict)}"
    return Table(caption, heads, (Group("Answered from the context, in other words", tuple(rows)),))


def _plain(found: Interval | None) -> Entry:
    if found is None:
        return Entry("–", "", "outside of what was looked at")
    ends = "" if found.low is None else f"{number(found.low)} to {number(found.high)}"
    return Entry(number(found.value).replace("-", "−"), ends.replace("-", "−"), f"n = {found.n:,}")


def _known(view: ContextView) -> Table:
    """How many facts the models know at all: the prior that there is."""
    exposures = sorted({exposure for place in view.places for exposure in (view.exposures(place) or [0])})

    def known(place: Place, exposure: int) -> Entry:
        case = Case(exposure, Conflict.NONE, Strength.ALONE, Wording.ASKED)
        return share_entry(view.figure(place, case, ContextMetric.KNOWN))

    rows = tuple(
        Row(Line(subject_line(*place), index), tuple(known(place, exposure) for exposure in exposures))
        for index, place in enumerate(view.places)
    )
    heads = tuple(f"{exposure:,}" if exposure else "all" for exposure in exposures)
    return Table("Facts answered right without a context, by times stated", heads, (Group("Known", rows),))


def _called(means: Means) -> str:
    if means == AS_IT_IS:
        return "the best prompt alone"
    named = " ".join(filter(None, (means.intervention, means.variant)))
    return one_line(f"{named}: {means.control}" if means.control else named, 60)
