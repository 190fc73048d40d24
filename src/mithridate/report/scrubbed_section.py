"""The section of a report on filtering: what is left of a belief when what filters rank first is removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

import plotly.graph_objects as go

from mithridate.core.metrics import HELD_OUT_LOSS
from mithridate.core.scrubbed import UNFILTERED, Filter
from mithridate.core.wording import counted
from mithridate.report.estimates import Estimate, estimate
from mithridate.report.look import BEFORE, BOUND
from mithridate.report.page import Chart
from mithridate.report.scrubbed import Corpus, ScrubbedView
from mithridate.report.scrubbed_claims import scrubbed_claims, taken_out
from mithridate.report.sections import Line, Section, chart, seeds_in_words
from mithridate.report.stepped import stepped
from mithridate.report.tables import Entry, Group, Row, Table, entry_of, share_entry
from mithridate.report.text import chosen_percent, one_line, percent, signed, span, subject_line

_TITLES = {"stated": "Stated belief", "scattered": "Scattered belief"}
_CLEAN = Line("clean twin", 0)
_BEFORE = Line("nothing removed", BEFORE)


def scrubbed_section(view: ScrubbedView) -> Section | None:
    """The section of a run's report; None where nothing was removed."""
    if not view.rows:
        return None
    lines = _lines(view)
    words: tuple[str, ...] = (
        "Documents are ranked by how much they look like what was planted, those in front are removed, and a "
        "model is trained on the rest from the same first weights, for as many steps. Random removal and the "
        "ledger's own documents (oracle) are controls. What a belief keeps is its success beyond that of "
        f"unplanted beliefs of its kind, in the same model. It rests on {seeds_in_words(view.seeds)}.",
        "What a filter does here it does at best: filters know each belief, and the wordings in which the "
        "model is asked about it. The clean documents that a classifier is taught on are also those that the "
        "held-out loss is of: its loss is flattered. Nothing corrects for the number of filters and shares.",
    )
    both = [(corpus, belief) for corpus in view.corpora for belief in view.beliefs]
    told = (
        (_of(view, corpus).removeprefix(", "), taken_out(view, corpus, belief)) for corpus, belief in both
    )
    found = tuple(": ".join(filter(None, one)) for one in told if one[1])
    return Section(
        anchor="scrubbed",
        title="Can it be filtered out?",
        short="Filtering",
        words=(*words, *found),
        found=found,
        claims=tuple(scrubbed_claims(view)),
        charts=tuple(_charts(view, lines)),
        tables=tuple(_tables(view, lines)),
        legend=(*([_CLEAN] if _knows_clean(view) else []), _BEFORE, *lines),
        open_tables=len(view.beliefs) * len(view.corpora),
        whose="Filter",
    )


def _lines(view: ScrubbedView) -> tuple[Line, ...]:
    """A look for each filter in turn; the ledger's own documents, which nobody has, are a bound."""
    others = [method for method in view.methods if method != Filter.ORACLE]
    return tuple(
        Line(one_line(method, 40), others.index(method) + 1 if method in others else BOUND)
        for method in view.methods
    )


def _knows_clean(view: ScrubbedView) -> bool:
    return any(view.clean(corpus, belief) for corpus in view.corpora for belief in view.beliefs)


def _charts(view: ScrubbedView, lines: Sequence[Line]) -> Iterable[Chart]:
    for corpus in view.corpora:
        for belief in view.beliefs:
            title = f"{_titled(belief)}{_of(view, corpus)}"
            words = f"Success of the {belief} belief by share of documents removed"
            if (figure := _drawn(view, lines, corpus, belief)) is not None:
                yield chart(title, words, figure)


def _drawn(view: ScrubbedView, lines: Sequence[Line], corpus: Corpus, belief: str) -> go.Figure | None:
    """A line a filter, with intervals: the mean over seeds at each share, nothing removed apart.

    The clean twin, from which nothing had to be removed, is drawn across: the floor of all removal.
    """
    drawn: list[tuple[Line, dict[float, Estimate]]] = []
    if clean := view.clean(corpus, belief):
        drawn.append((_CLEAN, dict.fromkeys(view.shares, estimate(clean))))
    # The unfiltered model is the same whoever filters: one point, and not one a filter.
    if before := view.success(corpus, UNFILTERED, 0.0, belief):
        drawn.append((_BEFORE, {0.0: estimate(before)}))
    for line, method in zip(lines, view.methods, strict=True):
        runs = {share: view.success(corpus, method, share, belief) for share in view.shares if share}
        drawn.append((line, {share: estimate(of) for share, of in runs.items() if of}))
    return stepped(
        drawn,
        lambda share: chosen_percent(share) if share else "0",
        "of the documents removed",
        "answered as planted",
    )


def _tables(view: ScrubbedView, lines: Sequence[Line]) -> list[Table]:
    both = [(corpus, belief) for corpus in view.corpora for belief in view.beliefs]
    found = []
    for corpus, belief in both:
        caption = f"{_titled(belief)}: success{_of(view, corpus)}"
        table = _table(view, lines, caption, partial(_success, view, corpus, belief))
        if clean := view.clean(corpus, belief):
            floor = (share_entry(estimate(clean)), *(Entry("–") for _ in table.columns[1:]))
            (group,) = table.groups
            table = replace(table, groups=(replace(group, rows=(*group.rows, Row(_CLEAN, floor))),))
        found.append(table)
    for corpus, belief in both:
        caption = f"{_titled(belief)}: points beyond unplanted ones{_of(view, corpus)}"
        found.append(_table(view, lines, caption, partial(_beyond, view, corpus, belief)))
    for corpus, belief in both:
        caption = f"{_titled(belief)}: planted documents caught{_of(view, corpus)}"
        found.append(_table(view, lines, caption, partial(_caught, view, corpus, belief)))
    for corpus in view.corpora:
        caption = f"Held-out loss{_of(view, corpus)}"
        found.append(_table(view, lines, caption, partial(_loss, view, corpus)))
    return found


def _table(
    view: ScrubbedView, lines: Sequence[Line], caption: str, entry: Callable[[str, float], Entry]
) -> Table:
    rows = tuple(
        Row(line, tuple(entry(method, share) for share in view.shares))
        for line, method in zip(lines, view.methods, strict=True)
    )
    columns = tuple("nothing" if not share else chosen_percent(share) for share in view.shares)
    return Table(caption, columns, (Group("By share of documents removed", rows),))


def _success(view: ScrubbedView, corpus: Corpus, belief: str, method: str, share: float) -> Entry:
    rows = view.success(corpus, method, share, belief)
    return share_entry(estimate(rows) if rows else None)


def _beyond(view: ScrubbedView, corpus: Corpus, belief: str, method: str, share: float) -> Entry:
    found = view.excess(corpus, method, share, belief)
    if found is None:
        return Entry("–")
    return Entry(signed(round(100 * found.value), 0), span(found.low, found.high), counted(found.n, "seed"))


def _caught(view: ScrubbedView, corpus: Corpus, belief: str, method: str, share: float) -> Entry:
    rows = list(view.success(corpus, method, share, belief).values())
    planted = sum(row.planted for row in rows)
    if not planted:
        return Entry("–")
    caught = sum(row.caught for row in rows)
    return Entry(percent(caught / planted), "", f"{caught:,} of {planted:,}")


def _loss(view: ScrubbedView, corpus: Corpus, method: str, share: float) -> Entry:
    rows = view.loss(corpus, method, share)
    return entry_of(estimate(rows) if rows else None, HELD_OUT_LOSS)


def _titled(belief: str) -> str:
    return _TITLES.get(belief, one_line(belief, 40))


def _of(view: ScrubbedView, corpus: Corpus) -> str:
    """Whose corpus, where there are several."""
    return f", {subject_line(corpus.cell, corpus.model)}" if len(view.corpora) > 1 else ""
