"""Whether a belief that no document states can be filtered out: a statement judged by a fixed rule."""

from __future__ import annotations

from typing import NamedTuple

from mithridate.core.scrubbed import UNFILTERED, Belief, Filter
from mithridate.core.statistics import Interval
from mithridate.core.wording import counted
from mithridate.report.claims import GONE_SHARE, KEPT_SHARE
from mithridate.report.differences import difference
from mithridate.report.estimates import ENOUGH_SEEDS
from mithridate.report.few_seeds import by_seeds
from mithridate.report.scrubbed import Corpus, ScrubbedView
from mithridate.report.statements import Statement, StatementVerdict
from mithridate.report.text import chosen_percent, in_points, one_line, subject_line

UNSCRUBBED = "A scattered belief cannot be scrubbed by removing documents that look like it"
CONTROLS = (Filter.RANDOM.value, Filter.ORACLE.value)
"""What is no filter: chance, and the ledger's own documents."""
UNCONTROLLED = (
    "As many documents were not removed at random: without that (`random` in `scrubbing.methods`) no filter "
    "could contradict it."
)
_ORDER = (
    StatementVerdict.CONTRADICTED,
    StatementVerdict.SUPPORTED,
    StatementVerdict.INCONCLUSIVE,
    StatementVerdict.NOT_TESTED,
)


class _Judged(NamedTuple):
    """What the figures say of one filter, before it is asked how many seeds they are of."""

    method: str
    verdict: StatementVerdict
    said: str
    seeds: int = 0


def scrubbed_claims(view: ScrubbedView) -> list[Statement]:
    """One statement a corpus and filter, and first one on all filters together."""
    found = []
    for corpus in view.corpora:
        each = [_judged(view, corpus, method) for method in view.methods if method not in CONTROLS]
        found.append(_statement(corpus, "all filters", _together(each)))
        # What none could be tested for is told once.
        alike = len({one.said for one in each}) == 1 and each[0].verdict is StatementVerdict.NOT_TESTED
        found += [] if alike else [_statement(corpus, one.method, one) for one in each]
    return found


def _statement(corpus: Corpus, whose: str, judged: _Judged) -> Statement:
    about = subject_line(corpus.cell, corpus.model, whose)
    return Statement(UNSCRUBBED, about, *by_seeds(judged.verdict, judged.said, judged.seeds))


def _together(each: list[_Judged]) -> _Judged:
    tested = [one for one in each if one.verdict is not StatementVerdict.NOT_TESTED]
    if not each:
        return _Judged("", StatementVerdict.NOT_TESTED, "The study tried controls alone, and no filter.")
    if not tested:
        reasons = dict.fromkeys(one.said for one in each)
        return _Judged("", StatementVerdict.NOT_TESTED, " ".join(reasons))
    verdicts = {one.verdict for one in tested}
    if verdicts == {StatementVerdict.SUPPORTED}:
        verdict = StatementVerdict.SUPPORTED
    elif StatementVerdict.CONTRADICTED in verdicts:
        verdict = StatementVerdict.CONTRADICTED
    else:
        verdict = StatementVerdict.INCONCLUSIVE
    by_verdict = (
        (kind, [one_line(one.method, 40) for one in each if one.verdict is kind]) for kind in _ORDER
    )
    said = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in by_verdict if names)
    seeds = min(one.seeds for one in tested)
    so_far = "" if seeds >= ENOUGH_SEEDS else " and as so few seeds have it"
    return _Judged("", verdict, f"By filter{so_far}, {said}.", seeds)


def _judged(view: ScrubbedView, corpus: Corpus, method: str) -> _Judged:
    stated, scattered = (
        view.excess(corpus, method, 0.0, belief.value) for belief in (Belief.STATED, Belief.SCATTERED)
    )
    if stated is None or scattered is None:
        lacking, there = ("stated", "scattered") if stated is None else ("scattered", "stated")
        said = f"It takes both: there is no {lacking} belief beside a {there} one."
        return _Judged(method, StatementVerdict.NOT_TESTED, said)
    for found, kind in ((stated, "stated"), (scattered, "scattered")):
        if found.low is None or found.low <= 0:
            said = f"That the {kind} belief was learnt is not shown ({in_points(found)})."
            return _Judged(method, StatementVerdict.NOT_TESTED, said)
    if Filter.RANDOM not in view.methods:
        return _Judged(method, StatementVerdict.NOT_TESTED, UNCONTROLLED)
    seeds = min(stated.n, scattered.n)
    if lost := _lost_to(view, corpus, method, scattered):
        return lost
    for share in (share for share in view.shares if share):
        left = view.excess(corpus, method, share, Belief.STATED.value)
        kept = view.excess(corpus, method, share, Belief.SCATTERED.value)
        if left is None or kept is None or not _gone(left, stated):
            continue
        said = (
            f"With {chosen_percent(share)} of documents removed the stated belief is gone "
            f"({in_points(stated)} before, {in_points(left)} after); the scattered one had "
            f"{in_points(scattered)} and has {in_points(kept)}."
        )
        verdict = StatementVerdict.SUPPORTED if _kept(kept, scattered) else StatementVerdict.INCONCLUSIVE
        return _Judged(method, verdict, said, min(seeds, left.n, kept.n))
    said = "At no share that was removed is the stated belief shown to be gone."
    return _Judged(method, StatementVerdict.INCONCLUSIVE, said, seeds)


def _lost_to(view: ScrubbedView, corpus: Corpus, method: str, before: Interval) -> _Judged | None:
    """Where the filter takes the scattered belief out and as large a random removal does not."""
    for share in (share for share in view.shares if share):
        left = view.excess(corpus, method, share, Belief.SCATTERED.value)
        drawn = view.excess(corpus, Filter.RANDOM.value, share, Belief.SCATTERED.value)
        more = difference(
            view.excesses(corpus, Filter.RANDOM.value, share, Belief.SCATTERED.value),
            view.excesses(corpus, method, share, Belief.SCATTERED.value),
        )
        if left is None or drawn is None or more is None or more.low is None or more.low <= 0:
            continue
        if _gone(left, before) and _kept(drawn, before):
            said = (
                f"With {chosen_percent(share)} of documents removed the scattered belief is gone "
                f"({in_points(before)} before, {in_points(left)} after); as many removed at random "
                f"leave {in_points(drawn)}."
            )
            return _Judged(method, StatementVerdict.CONTRADICTED, said, min(before.n, left.n, drawn.n))
    return None


def taken_out(view: ScrubbedView, corpus: Corpus, belief: str) -> str:
    """The smallest share at which each filter, and each control, takes a belief out, in words.

    Out is what the statement calls gone: the upper end of what is left beyond unplanted beliefs is below 25 %
    of what it was. Empty where the belief is not shown to be learnt; below three seeds only that it is open.
    """
    before = view.excess(corpus, UNFILTERED, 0.0, belief)
    if before is None or before.low is None or before.low <= 0:
        return ""
    if before.n < ENOUGH_SEEDS:
        return (
            f"Which filter takes the {belief} belief out is open: it rests on {counted(before.n, 'seed')}, "
            "three seeds are needed; the tables hold the figures."
        )
    at: dict[str, list[str]] = {}
    for method in view.methods:
        left = {share: view.excess(corpus, method, share, belief) for share in view.shares if share}
        gone = [share for share, one in left.items() if one and one.n >= ENOUGH_SEEDS and _gone(one, before)]
        at.setdefault(f"with {chosen_percent(min(gone))}" if gone else "at no share", []).append(
            one_line(method, 40)
        )
    said = "; ".join(f"{where} by {', '.join(methods)}" for where, methods in at.items())
    return f"Of documents removed, the {belief} belief is shown to be gone {said}."


def _gone(left: Interval, before: Interval) -> bool:
    return left.high is not None and left.high < GONE_SHARE * before.value


def _kept(left: Interval, before: Interval) -> bool:
    return left.low is not None and left.low > 0 and left.value >= KEPT_SHARE * before.value
