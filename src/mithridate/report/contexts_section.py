"""The section of a report on contexts against priors: what prompts override, and what interventions do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from mithridate.core.contexts import Conflict, ContextMetric, Strength, Wording
from mithridate.core.exposure_fit import NoFit
from mithridate.core.statistics import Interval
from mithridate.report.contexts import ALL_EXPOSURES, AS_IT_IS, Case, ContextView, Means, Place
from mithridate.report.contexts_claims import context_claims
from mithridate.report.contexts_words import COLUMNS, HALVES, LEGEND, coverage_words
from mithridate.report.estimates import Estimate
from mithridate.report.figures import empty_figure, share_axis, whiskers
from mithridate.report.page import Chart
from mithridate.report.sections import Line, Section, chart, seeds_in_words
from mithridate.report.tables import Entry, Group, Row, Table, share_entry
from mithridate.report.text import number, one_line, subject_line

_CURVE_POINTS = 40
_BESIDE = 0.025
"""How far dots of one prompt stand from those of the next, in powers of ten, to tell intervals apart."""
_EXPLAINED = (
    "Prompts state something else than what the model has learnt, in the fact's own sentence (substituted) "
    "or in a passage that fits (coherent). Figures are over facts that the model answers right without a "
    "context, or, under “facts it does not know”, over those of which it gives neither answer: that shows "
    f"whether it reads contexts at all. {LEGEND}"
)


class _Told(NamedTuple):
    """A figure that is told by how often facts were stated, and the wording in which it is asked."""

    title: str
    metric: ContextMetric
    wording: Wording
    charted: bool = True

    def share(
        self, view: ContextView, place: Place, conflict: Conflict, strength: Strength, exposure: int
    ) -> Estimate | None:
        """The figure of one prompt, of facts that were stated so often."""
        return view.figure(place, Case(exposure, conflict, strength, self.wording), self.metric)


_BY_EXPOSURE = (
    _Told("Answered from the context, in other words", ContextMetric.SUBSTITUTE, Wording.PARAPHRASE),
    _Told("Memorization ratio, in other words", ContextMetric.MEMORIZATION_RATIO, Wording.PARAPHRASE),
    # Its chart would be the paraphrase score's again.
    _Told("Efficacy", ContextMetric.EFFICACY, Wording.ASKED, charted=False),
    _Told("Paraphrase score", ContextMetric.EFFICACY, Wording.PARAPHRASE),
    _Told("Pair accuracy", ContextMetric.PAIR_ACCURACY, Wording.ASKED),
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
            for told in _BY_EXPOSURE:
                if told.charted:
                    words = f"{told.title} against exposures, a line a prompt"
                    yield chart(f"{told.title}, {about}", words, _drawn(view, lines, place, conflict, told))


def _drawn(
    view: ContextView, lines: Sequence[Line], place: Place, conflict: Conflict, told: _Told
) -> go.Figure:
    figure = empty_figure()
    exposures = view.exposures(place)
    for index, (line, strength) in enumerate(zip(lines, view.strengths, strict=True)):
        shares = {exposure: told.share(view, place, conflict, strength, exposure) for exposure in exposures}
        kept = [exposure for exposure, share in shares.items() if share]
        fitted = told.metric is ContextMetric.SUBSTITUTE and _add_curve(
            figure, view, line, place, conflict, strength
        )
        beside = 10 ** (_BESIDE * (index - (len(lines) - 1) / 2))
        figure.add_trace(
            whiskers(
                line,
                [exposure * beside for exposure in kept],
                [shares[exposure] for exposure in kept],
                [f"{exposure:,} times" for exposure in kept],
                # A curve is drawn for itself: dots joined besides would be two lines of one colour.
                "markers" if fitted else "lines+markers",
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

    def rows(told: _Told) -> tuple[Row, ...]:
        return tuple(
            Row(
                line,
                tuple(
                    share_entry(told.share(view, place, conflict, strength, exposure))
                    for exposure in exposures
                ),
            )
            for line, strength in zip(lines, view.strengths, strict=True)
        )

    groups = tuple(Group(told.title, rows(told)) for told in _BY_EXPOSURE)
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
