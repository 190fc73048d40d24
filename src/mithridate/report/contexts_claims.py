"""Whether prompts override what a model has learnt, and whether interventions do: fixed rules over rows."""

from __future__ import annotations

from dataclasses import dataclass

from mithridate.core.contexts import Conflict, ContextMetric, Strength, Wording
from mithridate.core.statistics import Interval, holm, mcnemar_exact, newcombe
from mithridate.report.contexts import ALL_EXPOSURES, AS_IT_IS, Case, ContextView, Means, Place
from mithridate.report.estimates import Estimate
from mithridate.report.statements import Statement, StatementVerdict
from mithridate.report.text import in_points, one_line, percent, span, subject_line

PROMPTING = "Prompting cannot override a strong prior"
INTERVENTION = "An intervention can, where prompting cannot"
HALF = 0.5
"""A prompt overrides where more than this share of replies give the context's answer."""
ALPHA = 0.05
LEAST_UNKNOWN = 10
"""Replies about unknown facts that it takes, over all seeds, to see whether a model reads contexts at all."""
LEAST_GAIN = 0.1
"""An intervention that adds fewer replies than this share adds nothing worth its name."""


@dataclass(frozen=True, slots=True)
class _Tried:
    """One intervention against the best prompt without one, on the same facts."""

    means: Means
    share: float
    control: float | None
    gain: Interval
    p: float


def context_claims(view: ContextView) -> list[Statement]:
    """Both statements for each model and kind of context."""
    return [
        Statement(statement, subject_line(*place, conflict), *verdict)
        for place in view.places
        for conflict in view.conflicts
        for statement, verdict in _verdicts(view, place, conflict)
    ]


def _verdicts(
    view: ContextView, place: Place, conflict: Conflict
) -> list[tuple[str, tuple[StatementVerdict, str]]]:
    refused = _unread(view, place, conflict)
    if refused:
        untested = (StatementVerdict.NOT_TESTED, refused)
        return [(PROMPTING, untested), (INTERVENTION, untested)]
    return [
        (PROMPTING, _prompting(view, place, conflict)),
        (INTERVENTION, _intervening(view, place, conflict)),
    ]


def _unread(view: ContextView, place: Place, conflict: Conflict) -> str:
    """Why nothing can be tested, if so: a model that follows no context cannot show what a prior does."""
    exposures = view.exposures(place)
    if not exposures:
        return "Nobody counted how often the facts were stated in training."
    if len(exposures) < 2:
        return "All facts were stated equally often, so no prior is stronger than another."
    found = view.best(place, ALL_EXPOSURES, conflict, metric=ContextMetric.READ)
    if found is None or found[1].n < LEAST_UNKNOWN:
        return (
            f"Nothing tells whether the model reads contexts: of facts that it does not know, "
            f"{found[1].n if found else 0} replies in other words are there, and {LEAST_UNKNOWN} are needed."
        )
    strength, share = found
    if share.low is None or share.low <= HALF:
        return (
            "The model is not shown to read contexts: even of facts that it does not know, the best prompt "
            f"({strength}) has {_said(share)} of {share.n:,} replies in other words give its answer."
        )
    return ""


def _prompting(view: ContextView, place: Place, conflict: Conflict) -> tuple[StatementVerdict, str]:
    strongest = view.exposures(place)[-1]
    found = view.best(place, strongest, conflict)
    if found is None:
        return StatementVerdict.NOT_TESTED, _unasked(view, place, strongest)
    strength, share = found
    said = (
        f"Of facts that were stated {_times(strongest)}, the best prompt ({strength}) has {_said(share)} of "
        "replies in other words give the context's answer."
    )
    if share.high is not None and share.high < HALF:
        return StatementVerdict.SUPPORTED, said
    if share.low is not None and share.low > HALF:
        return StatementVerdict.CONTRADICTED, said
    return StatementVerdict.INCONCLUSIVE, said


def _unasked(view: ContextView, place: Place, strongest: int) -> str:
    """Why there are no replies about the facts that were stated most often."""
    alone = Case(strongest, Conflict.NONE, Strength.ALONE, Wording.ASKED)
    known = view.figure(place, alone, ContextMetric.KNOWN)
    if known is not None and known.value == 0:
        return (
            f"Of {known.n:,} facts that were stated {_times(strongest)} the model knows none, so there is "
            "nothing to contradict."
        )
    return "Nobody asked about the facts that were stated most often."


def _intervening(view: ContextView, place: Place, conflict: Conflict) -> tuple[StatementVerdict, str]:
    strongest = view.exposures(place)[-1]
    best = view.best(place, strongest, conflict)
    means = [one for one in view.interventions(place) if not one.control]
    if best is None or not means:
        return StatementVerdict.NOT_TESTED, "No intervention was tried on facts that were stated most often."
    tried = [
        found
        for one in means
        if (found := _tried(view, place, strongest, conflict, best[0], one)) is not None
    ]
    if not tried:
        return StatementVerdict.NOT_TESTED, "No replies are kept with and without an intervention."
    adjusted = holm(one.p for one in tried)
    number, top = max(enumerate(tried), key=lambda one: one[1].gain.value)
    control = "no control" if top.control is None else f"its best control {percent(top.control)}"
    said = (
        f"Of facts that were stated {_times(strongest)}, {_named(top.means)} has {percent(top.share)} of "
        f"replies give the context's answer, {control}, the best prompt alone ({best[0]}) "
        f"{percent(best[1].value)}; facts gained {in_points(top.gain)}, p = {adjusted[number]:.2g} "
        f"(Holm over {len(tried)})."
    )
    for one, p in zip(tried, adjusted, strict=True):
        beyond = one.control is not None and one.share > one.control
        if p < ALPHA and one.gain.value > 0 and one.share > best[1].value and beyond:
            return StatementVerdict.SUPPORTED, said
    if all(one.gain.high is not None and one.gain.high < LEAST_GAIN for one in tried):
        return StatementVerdict.CONTRADICTED, said
    return StatementVerdict.INCONCLUSIVE, said


def _tried(
    view: ContextView, place: Place, exposure: int, conflict: Conflict, prompt: Strength, means: Means
) -> _Tried | None:
    """The intervention with its own best prompt; facts that were asked both ways are pairs."""
    best = view.best(place, exposure, conflict, means=means)
    if best is None:
        return None
    with_it = view.followed(place, Case(exposure, conflict, best[0]), means)
    without = view.followed(place, Case(exposure, conflict, prompt), AS_IT_IS)
    shared = [fact for fact in with_it if fact in without]
    if not shared:
        return None
    ours, theirs = [with_it[fact] for fact in shared], [without[fact] for fact in shared]
    controls = [
        found[1].value
        for one in view.interventions(place)
        if one.control and one.intervention == means.intervention
        if (found := view.best(place, exposure, conflict, means=one)) is not None
    ]
    gain = newcombe(sum(ours), len(ours), sum(theirs), len(theirs))
    p = mcnemar_exact(ours, theirs)
    return _Tried(means, best[1].value, max(controls, default=None), gain, p)


def _said(share: Estimate) -> str:
    ends = span(share.low, share.high)
    return percent(share.value) + (f" ({ends})" if ends else "")


def _named(means: Means) -> str:
    return one_line(" ".join(filter(None, (means.intervention, means.variant))), 60)


def _times(exposure: int) -> str:
    return "once" if exposure == 1 else f"{exposure:,} times"
