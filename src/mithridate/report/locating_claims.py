"""The rules that turn rows of localisation into verdicts. `docs/claims.md` states them in words.

Three statements: what survives lies where alignment does not reach (ours, to be tested); knowledge lies in
lower layers and style in upper ones; alignment is a few tokens deep (Qi et al. 2024, arXiv 2406.05946).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mithridate.core.located import FORMAT, HELPFULNESS, REFUSAL, Experiment, Located, Metric, Pair
from mithridate.core.permutations import sign_flips
from mithridate.core.statistics import Interval, bootstrap_mean
from mithridate.localization.overlap import Profile
from mithridate.localization.relation import Point, Relation, relation
from mithridate.report.estimates import tell_apart
from mithridate.report.evidence import ALPHA
from mithridate.report.located import LocatedView, Subject
from mithridate.report.locations import Location, behaviour_profile
from mithridate.report.statements import Statement, StatementVerdict
from mithridate.report.text import number, p_value

LEAST_POINTS = 4
"""Fewer points (an attack at a seed each) test no relation of overlap and survival."""
FIRST_TOKENS = 5
"""Tokens of a reply that count as its beginning."""
LATER_FROM = 10
"""The position from which on tokens count as the rest of a reply; the ones between belong to neither."""
SHALLOW_RATIO = 2.0
"""Alignment is a few tokens deep if it moves the beginning at least so many times as far as the rest."""

REACH = "What survives lies where alignment does not reach"
REACH_RAW = "The same, with nothing taken off for random changes"
PLANTED_LOWER = "Knowledge below style: what was planted"
HELPFULNESS_LOWER = "Knowledge below style: right answers"
SHALLOW = "Alignment is a few tokens deep"


@dataclass(frozen=True, slots=True)
class LocatedClaim(Statement):
    """A statement on where behaviours live; `relation` is what the first of them rests on."""

    relation: Relation | None = None


def located_claims(view: LocatedView, found: Sequence[Location]) -> list[LocatedClaim]:
    """Every statement, for each cell and dose that was looked into."""
    made = []
    groups: dict[tuple[str, str], list[Subject]] = {}
    for subject in view.subjects:
        groups.setdefault((subject.cell, subject.dose), []).append(subject)
    for (cell, dose), subjects in groups.items():
        about = ", ".join(filter(None, (cell, dose)))
        own = [location for location in found if location.subject in subjects]
        made += [reach(own, about), reach(own, about, uncorrected=True)]
        made += below_style(view, own, subjects, about)
        for subject in subjects:
            told = f"{about}, {subject.model}" if len(subjects) > 1 else about
            made.append(shallow(view, subject, told))
    return made


def shown_claims(claims: Sequence[LocatedClaim]) -> list[LocatedClaim]:
    """The claims to show: none where nothing was tested, and the second form of one with the first alone."""
    tested = [claim for claim in claims if claim.verdict is not StatementVerdict.NOT_TESTED]
    return [claim for claim in claims if claim in tested or claim.statement != REACH_RAW] if tested else []


def reach(found: Sequence[Location], about: str = "", *, uncorrected: bool = False) -> LocatedClaim:
    """Whether attacks survive the less, the more they overlap with what alignment taught.

    Profiles are of what layers carry beyond a random change of the same size; with `uncorrected`, of all that
    they carry.
    """
    points = []
    for location in found:
        for seed in location.seeds:
            overlapping = (seed.uncorrected if uncorrected else seed.facing).overlap
            survival = seed.survival
            if overlapping is not None and survival and survival.learnt and survival.kept is not None:
                points.append(Point(location.attack, seed.seed, overlapping, survival.kept))
    between = relation(points, alpha=ALPHA)
    verdict = reach_verdict(between)
    statement = REACH_RAW if uncorrected else REACH
    return LocatedClaim(statement, about, verdict, _reach_reason(between, verdict), between)


def reach_verdict(between: Relation) -> StatementVerdict:
    """The rule: the statement predicts that rho is below 0.

    Both tests must find it, that within seeds and that of attacks as wholes: seeds repeat the same attacks.
    """
    if len(between.points) < LEAST_POINTS or between.rho is None or between.within is None:
        return StatementVerdict.NOT_TESTED
    if between.whole is None:
        return StatementVerdict.INCONCLUSIVE  # too few attacks are in every seed for the second test
    tests = (between.within, between.whole)
    if between.rho < 0 and all(test.lower < ALPHA for test in tests):
        return StatementVerdict.SUPPORTED
    if between.rho > 0 and all(test.upper < ALPHA for test in tests):
        return StatementVerdict.CONTRADICTED
    return StatementVerdict.INCONCLUSIVE


def _reach_reason(between: Relation, verdict: StatementVerdict) -> str:
    count = len(between.points)
    if count < LEAST_POINTS:
        return (
            f"{_counted(count, 'pair')} of overlap and survival, of attacks that were learnt and could be "
            f"traced to layers; {LEAST_POINTS} are needed."
        )
    if between.rho is None or between.within is None:
        return "All overlaps or all survivals are the same: no order to compare."
    attacks = len({point.attack for point in between.points})
    seeds = len({point.seed for point in between.points})
    p = between.within.lower if between.rho < 0 else between.within.upper
    said = (
        f"Spearman's rho {_signed(between.rho)} over {_counted(attacks, 'attack')} and "
        f"{_counted(seeds, 'seed')} ({count} points), p {_with_sign(p)} when attacks are exchanged within "
        f"seeds; the smallest possible is {p_value(between.within.smallest)}."
    )
    if verdict is StatementVerdict.INCONCLUSIVE:
        said += f" With 80% power, |rho| from {between.detectable:.2f} on would have been found."
    if seeds > 1 and between.whole is None:
        said += " Too few attacks have a point in every seed to exchange them in all seeds alike."
    if seeds > 1 and between.whole is not None:
        whole = between.whole.lower if between.rho < 0 else between.whole.upper
        said += f" Exchanged in all seeds alike, p is {p_value(whole)}"
        said += "." if whole < ALPHA else ": not shown for attacks other than these."
    return said


def below_style(
    view: LocatedView, found: Sequence[Location], subjects: Sequence[Subject], about: str = ""
) -> list[LocatedClaim]:
    """Whether what was planted, and right answers, lie below refusal and the form of the chat."""

    def taught(*names: str) -> Callable[[int], list[Profile | None]]:
        return lambda seed: [
            behaviour_profile(view, subject, seed, Pair.ALIGNMENT, name)
            for subject in subjects
            for name in names
        ]

    def planted(seed: int) -> list[Profile | None]:
        return [s.facing.attack for location in found for s in location.seeds if s.seed == seed]

    seeds = sorted({seed for subject in subjects for seed in view.seeds(subject)})
    style = taught(REFUSAL, FORMAT)
    made = []
    for statement, lower in ((PLANTED_LOWER, planted), (HELPFULNESS_LOWER, taught(HELPFULNESS))):
        pairs = [(_depth(lower(seed)), _depth(style(seed))) for seed in seeds]
        known = [(below, above) for below, above in pairs if below is not None and above is not None]
        made.append(LocatedClaim(statement, about, *depth_verdict(known)))
    return made


def depth_verdict(depths: Sequence[tuple[float, float]]) -> tuple[StatementVerdict, str]:
    """The rule, from the centres of mass of knowledge and of style, a pair a seed."""
    if not depths:
        return StatementVerdict.NOT_TESTED, "No seed has both: one of them could not be traced to layers."
    apart = [above - below for below, above in depths]
    mean = float(np.mean(apart))
    found = sign_flips(apart)
    p = found.upper if mean > 0 else found.lower
    below, above = np.mean(depths, axis=0)
    said = (
        f"Centres of mass at {below:.2f} and {above:.2f} of the height (0 embeddings, 1 head) over "
        f"{_counted(len(depths), 'seed')}; p {_with_sign(p)} when signs are exchanged, the smallest possible "
        f"is {p_value(found.smallest)}."
    )
    if p < ALPHA and mean > 0:
        return StatementVerdict.REPRODUCED, said
    if p < ALPHA and mean < 0:
        return StatementVerdict.NOT_REPRODUCED, said
    return StatementVerdict.INCONCLUSIVE, said


def _depth(profiles: Sequence[Profile | None]) -> float | None:
    known = [found.depth for found in profiles if found is not None]
    return sum(known) / len(known) if known else None


def shallow(view: LocatedView, subject: Subject, about: str = "") -> LocatedClaim:
    """Whether alignment moved the beginning of replies much farther than the rest."""
    rows = divergences(view, subject)
    first = _ends([row for row in rows if int(row.position) < FIRST_TOKENS])
    later = _ends([row for row in rows if int(row.position) >= LATER_FROM])
    return LocatedClaim(SHALLOW, about, *shallow_verdict(first, later))


def divergences(view: LocatedView, subject: Subject) -> list[Located]:
    """KL(aligned || base) by position in the reply, seed by seed, in one template.

    The template in which both models are asked alike, if there are several; else the first.
    """
    rows = [
        row
        for row in view.at(
            subject, experiment=Experiment.TOKENS, pair=Pair.ALIGNMENT, metric=Metric.KL_ALIGNED_BASE
        )
        if row.position.isdecimal() and not row.control
    ]
    templates = list(dict.fromkeys(row.template for row in rows))
    chosen = "shared" if "shared" in templates else next(iter(templates), "")
    return [row for row in rows if row.template == chosen]


def _ends(rows: Sequence[Located]) -> Interval | None:
    """The mean over the tokens of some positions: within each seed, and then over seeds.

    Places of one reply go together, so the ends of their intervals are averaged as if they moved as one: the
    widest that their mean could have. From three seeds on the interval is over seeds.
    """
    by_seed = {row.seed: [r for r in rows if r.seed == row.seed and r.n > 0] for row in rows}
    each = [_mean_ends(of) for of in by_seed.values() if of]
    if not each:
        return None
    values = [found.value for found in each]
    mean, tokens = sum(values) / len(values), sum(found.n for found in each)
    if tell_apart(values):
        interval = bootstrap_mean(values, seed=0, method="percentile")
        return Interval(mean, interval.low, interval.high, tokens)
    lows, highs = [e.low for e in each if e.low is not None], [e.high for e in each if e.high is not None]
    complete = len(lows) == len(highs) == len(each)
    low, high = (min(lows), max(highs)) if complete else (None, None)
    return Interval(mean, low, high, tokens)


def _mean_ends(rows: Sequence[Located]) -> Interval:
    def mean(values: Sequence[float]) -> float:
        return float(np.average(values, weights=[row.n for row in rows]))

    # A place where all replies agree has no interval of its own: its figure stands for both ends.
    lows = [row.value if row.low is None else row.low for row in rows]
    highs = [row.value if row.high is None else row.high for row in rows]
    known = any(row.low is not None and row.high is not None for row in rows)
    low, high = (mean(lows), mean(highs)) if known else (None, None)
    return Interval(mean([row.value for row in rows]), low, high, sum(row.n for row in rows))


def shallow_verdict(first: Interval | None, later: Interval | None) -> tuple[StatementVerdict, str]:
    """The rule, from the mean divergence of the beginning of replies and of their rest."""
    if first is None or later is None:
        reached = f"no reply reaches the position {LATER_FROM}" if first else "divergences were not measured"
        return StatementVerdict.NOT_TESTED, f"By position in the reply, {reached}."
    ratio = f"{first.value / later.value:.1f} times" if later.value > 0 else "any number of times"
    said = (
        f"{number(first.value)} nats in the first {FIRST_TOKENS} tokens{_between(first)}, "
        f"{number(later.value)} from position {LATER_FROM} on{_between(later)}: {ratio} as far."
    )
    if first.low is None or first.high is None or later.low is None or later.high is None:
        return StatementVerdict.INCONCLUSIVE, f"{said} There is no interval to tell them apart by."
    if first.value >= SHALLOW_RATIO * later.value and first.low > later.high:
        return StatementVerdict.REPRODUCED, said
    if first.high < SHALLOW_RATIO * later.low:
        return StatementVerdict.NOT_REPRODUCED, said
    return StatementVerdict.INCONCLUSIVE, said


def _between(ends: Interval) -> str:
    return f" ({number(ends.low)}–{number(ends.high)})" if ends.low is not None else ""


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _with_sign(p: float) -> str:
    shown = p_value(p)
    return shown if shown.startswith("<") else f"= {shown}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
