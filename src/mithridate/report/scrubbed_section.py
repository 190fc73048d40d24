"""The section of a report on filtering: what is left of a belief when what filters rank first is removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import plotly.graph_objects as go

from mithridate.report.estimates import estimate
from mithridate.report.page import Chart
from mithridate.report.scrubbed import Corpus, ScrubbedView, mean_of
from mithridate.report.scrubbed_claims import scrubbed_claims
from mithridate.report.sections import Line, Section, chart, seeds_in_words
from mithridate.report.stepped import stepped
from mithridate.report.tables import Entry, Group, Row, Table, share_entry
from mithridate.report.text import number, one_line, percent

_TITLES = {"stated": "Stated belief", "scattered": "Scattered belief"}


def scrubbed_section(view: ScrubbedView) -> Section | None:
    """The section of a run's report; None where nothing was removed."""
    if not view.rows:
        return None
    lines = tuple(Line(one_line(method, 40), i + 1) for i, method in enumerate(view.methods))
    words = (
        "Documents are ranked by how much they look like what was planted, those in front are removed, and a "
        "model is trained on the rest from the same first weights, for as many steps. The filter knows the "
        "belief and not the ledger; random removal and the ledger's own documents (oracle) are the controls. "
        "What a belief keeps is its success beyond that of beliefs of its kind that nobody planted. "
        f"It rests on {seeds_in_words(view.seeds)}.",
    )
    return Section(
        anchor="scrubbed",
        title="Can it be filtered out?",
        short="Filtering",
        words=words,
        claims=tuple(scrubbed_claims(view)),
        charts=tuple(_charts(view, lines)),
        tables=tuple(_tables(view, lines)),
        legend=lines,
        open_tables=len(view.beliefs) * len(view.corpora),
        whose="Filter",
    )


def _charts(view: ScrubbedView, lines: Sequence[Line]) -> Iterable[Chart]:
    for corpus in view.corpora:
        for belief in view.beliefs:
            title = f"{_titled(belief)}, {_corpus(corpus)}"
            words = f"Success of the {belief} belief by share of documents removed"
            if (figure := _drawn(view, lines, corpus, belief)) is not None:
                yield chart(title, words, figure)


def _drawn(view: ScrubbedView, lines: Sequence[Line], corpus: Corpus, belief: str) -> go.Figure | None:
    """A line a filter, with intervals: the mean over seeds at each share, nothing removed apart."""
    drawn = []
    for line, method in zip(lines, view.methods, strict=True):
        runs = {share: view.success(corpus, method, share, belief) for share in view.shares}
        drawn.append((line, {share: estimate(of) for share, of in runs.items() if of}))
    return stepped(drawn, lambda share: percent(share) if share else "0", "of the documents removed")


def _tables(view: ScrubbedView, lines: Sequence[Line]) -> list[Table]:
    found = [
        _table(
            view,
            lines,
            f"{_TITLES.get(belief, belief)}: success, {_corpus(corpus)}",
            partial(_success, view, corpus, belief),
        )
        for corpus in view.corpora
        for belief in view.beliefs
    ]
    for corpus in view.corpora:
        for belief in view.beliefs:
            caption = f"{_titled(belief)}: planted documents caught, {_corpus(corpus)}"
            found.append(_table(view, lines, caption, partial(_caught, view, corpus, belief)))
        caption = f"Held-out loss, {_corpus(corpus)}"
        found.append(_table(view, lines, caption, partial(_loss, view, corpus)))
    return found


def _table(
    view: ScrubbedView, lines: Sequence[Line], caption: str, entry: Callable[[str, float], Entry]
) -> Table:
    rows = tuple(
        Row(line, tuple(entry(method, share) for share in view.shares))
        for line, method in zip(lines, view.methods, strict=True)
    )
    columns = tuple("nothing" if not share else percent(share) for share in view.shares)
    return Table(caption, columns, (Group("Removed", rows),))


def _success(view: ScrubbedView, corpus: Corpus, belief: str, method: str, share: float) -> Entry:
    rows = view.success(corpus, method, share, belief)
    return share_entry(estimate(rows) if rows else None)


def _caught(view: ScrubbedView, corpus: Corpus, belief: str, method: str, share: float) -> Entry:
    rows = list(view.success(corpus, method, share, belief).values())
    planted = sum(row.planted for row in rows)
    if not planted:
        return Entry("–")
    caught = sum(row.caught for row in rows)
    return Entry(percent(caught / planted), "", f"{caught:,} of {planted:,}")


def _loss(view: ScrubbedView, corpus: Corpus, method: str, share: float) -> Entry:
    return Entry(number(mean_of(view.loss(corpus, method, share).values())))


def _titled(belief: str) -> str:
    return _TITLES.get(belief, one_line(belief, 40))


def _corpus(corpus: Corpus) -> str:
    return ", ".join(filter(None, (one_line(corpus.cell, 40), one_line(corpus.model, 40))))
