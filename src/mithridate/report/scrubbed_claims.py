"""Whether a belief that no document states can be filtered out: a statement judged by a fixed rule."""

from __future__ import annotations

from mithridate.core.scrubbed import Belief, Filter
from mithridate.core.statistics import Interval
from mithridate.report.claims import GONE_SHARE, KEPT_SHARE
from mithridate.report.scrubbed import Corpus, ScrubbedView
from mithridate.report.statements import Statement, StatementVerdict
from mithridate.report.text import in_points, percent, subject_line

UNSCRUBBED = "A scattered belief cannot be scrubbed by removing documents that look like it"
CONTROLS = (Filter.RANDOM.value, Filter.ORACLE.value)
"""What is no filter: chance, and the ledger's own documents."""


def scrubbed_claims(view: ScrubbedView) -> list[Statement]:
    """One statement a corpus and filter, and first one on all filters together."""
    found = []
    for corpus in view.corpora:
        filters = [method for method in view.methods if method not in CONTROLS]
        each = [_of_filter(view, corpus, method) for method in filters]
        found += [_together(corpus, each), *each]
    return found


def _together(corpus: Corpus, each: list[Statement]) -> Statement:
    verdicts = [one.verdict for one in each]
    tested = [one for one in verdicts if one is not StatementVerdict.NOT_TESTED]
    supported = sum(one is StatementVerdict.SUPPORTED for one in tested)
    if not tested:
        verdict = StatementVerdict.NOT_TESTED
    elif supported == len(tested):
        verdict = StatementVerdict.SUPPORTED
    elif StatementVerdict.CONTRADICTED in tested:
        verdict = StatementVerdict.CONTRADICTED
    else:
        verdict = StatementVerdict.INCONCLUSIVE
    return Statement(
        UNSCRUBBED,
        subject_line(corpus.cell, corpus.model, "all filters"),
        verdict,
        f"Supported for {supported} of {len(tested)} filters that could be tested, of {len(each)}.",
    )


def _of_filter(view: ScrubbedView, corpus: Corpus, method: str) -> Statement:
    about = subject_line(corpus.cell, corpus.model, method)
    return Statement(UNSCRUBBED, about, *_verdict(view, corpus, method))


def _verdict(view: ScrubbedView, corpus: Corpus, method: str) -> tuple[StatementVerdict, str]:
    stated, scattered = (
        view.excess(corpus, method, 0.0, belief.value) for belief in (Belief.STATED, Belief.SCATTERED)
    )
    if stated is None or scattered is None:
        return StatementVerdict.NOT_TESTED, "The study has no stated belief beside a scattered one."
    for found, kind in ((stated, "stated"), (scattered, "scattered")):
        if found.low is None or found.low <= 0:
            return StatementVerdict.NOT_TESTED, f"The {kind} belief was not learnt ({in_points(found)})."
    shares = [share for share in view.shares if share]
    if lost := _lost_to(view, corpus, method, shares, scattered):
        return StatementVerdict.CONTRADICTED, lost
    for share in shares:
        left = view.excess(corpus, method, share, Belief.STATED.value)
        if left is None or not _gone(left, stated):
            continue
        kept = view.excess(corpus, method, share, Belief.SCATTERED.value)
        if kept is None:
            continue
        said = (
            f"With {percent(share)} of documents removed the stated belief is gone ({in_points(stated)} "
            f"before, {in_points(left)} after); the scattered one had {in_points(scattered)} and has "
            f"{in_points(kept)}."
        )
        if _kept(kept, scattered):
            return StatementVerdict.SUPPORTED, said
        return StatementVerdict.INCONCLUSIVE, said
    return StatementVerdict.INCONCLUSIVE, "The stated belief is not gone at any share that was removed."


def _lost_to(view: ScrubbedView, corpus: Corpus, method: str, shares: list[float], before: Interval) -> str:
    """Where the filter takes the scattered belief out and as large a random removal does not, in words."""
    for share in shares:
        left = view.excess(corpus, method, share, Belief.SCATTERED.value)
        drawn = view.excess(corpus, Filter.RANDOM.value, share, Belief.SCATTERED.value)
        if left and drawn and _gone(left, before) and _kept(drawn, before):
            return (
                f"With {percent(share)} of documents removed the scattered belief is gone "
                f"({in_points(before)} before, {in_points(left)} after); as many removed at random "
                f"leave {in_points(drawn)}."
            )
    return ""


def _gone(left: Interval, before: Interval) -> bool:
    return left.high is not None and left.high < GONE_SHARE * before.value


def _kept(left: Interval, before: Interval) -> bool:
    return left.low is not None and left.low > 0 and left.value >= KEPT_SHARE * before.value
