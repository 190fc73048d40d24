"""The price list as lines of text, the same for the page and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mithridate.core.cures import Verdict
from mithridate.core.prices import Control, Kind, Price, Regime
from mithridate.core.types import Condition
from mithridate.report.estimates import Estimate
from mithridate.report.look import CLEAN_COLOUR, COLOURS
from mithridate.report.priced import (
    CLEAN,
    GONE,
    UNTREATED,
    Effect,
    PricedView,
    Setting,
    Subject,
    best_settings,
)
from mithridate.report.text import duration, name, one_line, percent, span

KIND_COLOURS: dict[str, str] = {kind.value: COLOURS[i] for i, kind in enumerate(Kind)}
REGIME_MARKS = {Regime.KNOWN.value: ("circle", "●"), Regime.UNKNOWN.value: ("diamond", "◆")}
"""How each regime is marked, for Plotly and as a character."""
_TITLES = {
    Regime.KNOWN.value: (
        "When the attack is known",
        "The trigger or the belief is known, as after an audit. A cure is made against one attack at a time, "
        "or against all of them at once.",
    ),
    Regime.UNKNOWN.value: (
        "With clean data alone",
        "Nothing is known of what was planted. A cure is made once, and asked about every attack.",
    ),
}
_DECIDED = {
    Price.HELD_OUT_LOSS: "perplexity",
    Price.QUESTIONS_RIGHT: "right answers",
    Price.REFUSAL_FORBIDDEN: "refusals lost",
    Price.OVER_REFUSAL: "over-refusal",
}

NO_CONTROL = "none"
"""What stands in the place of a random change where there is none: then only the floor and utility decide."""
_LEAST_NATS = 0.001


@dataclass(frozen=True, slots=True)
class Line:
    """What one method, at its best setting, did to one attack, and its price; texts are ready to be shown.

    `choice` says of how many settings it is the best, `choosing` what it took to find it with all that was
    tried, `seeds` what its verdicts were where there are several seeds. `gone` is in how many of those with
    the attack a cure took it out, empty where there is a cure in each. `heals` is as in `Setting`. A figure
    that was not measured is "–", or empty where it stands beside another; `random` says so where a cure has
    no control.
    """

    method: str
    setting: str
    choice: str
    heals: bool
    kind: str
    colour: str
    glyph: str
    before: str
    after: str
    interval: str
    near: str
    rests_on: str
    verdict: Verdict
    seeds: str
    gone: str
    points: str
    points_range: str
    decided: str
    kl: str
    seconds: str
    choosing: str
    slowdown: str
    relearning: str
    clean_relearning: str
    random: str
    wrong_layer: str

    @property
    def badge(self) -> str:
        """The verdict as it is shown: what heals no model has not cured it."""
        gone = not self.heals and self.verdict in GONE
        return "filtered" if gone else f"{self.verdict.value} {self.gone}".strip()

    @property
    def lost(self) -> str:
        """The price in words, for a sentence."""
        return "a price that nobody measured" if self.points == "–" else f"{self.points} points"


@dataclass(frozen=True, slots=True)
class AttackList:
    """The methods tried on one attack, the best first; how often it works as it is, and in a clean model."""

    attack: str
    title: str
    before: str
    before_interval: str
    before_near: str
    clean: str
    clean_interval: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class RegimeList:
    """The price list of one regime."""

    regime: str
    title: str
    words: str
    attacks: tuple[AttackList, ...]

    def has(self, *columns: str) -> bool:
        """Whether any line has a figure in one of these columns."""
        return any(
            getattr(line, column).strip("–") for of in self.attacks for line in of.lines for column in columns
        )


@dataclass(frozen=True, slots=True)
class Best:
    """The best cure of one attack in each regime, where there is one."""

    attack: AttackList
    known: Line | None
    unknown: Line | None


def price_lists(view: PricedView, subject: Subject) -> list[RegimeList]:
    """The lists of one model by regime; attacks that there is nothing of to cure are in none."""
    effects = view.effects(subject)
    seen = dict.fromkeys(one.setting.regime for one in effects)
    regimes = [r.value for r in Regime if r.value in seen] + [r for r in seen if r not in set(Regime)]
    made = []
    for regime in regimes:
        title, words = _TITLES.get(regime, (name(regime) or "Other cures", ""))
        own = [one for one in effects if one.setting.regime == regime]
        lists = [
            _attack_list(view, subject, attack, [one for one in own if one.attack == attack])
            for attack in view.attacks(subject)
            if any(one.attack == attack and one.present for one in own)
        ]
        if lists:
            made.append(RegimeList(regime, title, words, tuple(lists)))
    return made


def best_cures(lists: Sequence[RegimeList]) -> list[Best]:
    """The first line of each attack in the two regimes that heals the model."""
    by_attack: dict[str, AttackList] = {}
    for of in lists:
        for one in of.attacks:
            by_attack.setdefault(one.attack, one)

    def first(regime: Regime, attack: str) -> Line | None:
        lists_of = (a for of in lists if of.regime == regime for a in of.attacks if a.attack == attack)
        return next((line for one in lists_of for line in one.lines if line.heals), None)

    return [
        Best(one, first(Regime.KNOWN, attack), first(Regime.UNKNOWN, attack))
        for attack, one in by_attack.items()
    ]


def nothing_to_cure(view: PricedView, subject: Subject) -> list[str]:
    """The attacks that work no better than in a clean model, with the rates that say so."""
    there, found = view.surviving(subject), []
    for attack in view.attacks(subject):
        before = view.at(subject, UNTREATED, Price.ASR, attack=attack)
        clean = view.at(subject, CLEAN, Price.ASR, attack=attack)
        without = view.at(subject, UNTREATED, Price.ASR, attack=attack, condition=Condition.UNTRIGGERED.value)
        # Without either there is no floor, and nobody knows.
        if before and (clean or without) and attack not in there:
            beside = f", {percent(clean.value)} in the clean model" if clean else ""
            found.append(f"{name(attack).lower()} ({percent(before.value)}{beside})")
    return found


def retraining(view: PricedView, subject: Subject) -> str:
    """What retraining without the planted documents costs, in a sentence; empty where nobody measured it."""
    seconds = view.at(subject, CLEAN, Price.SECONDS)
    tokens = view.at(subject, CLEAN, Price.TOKENS)
    parts = [took(seconds.value)] if seconds else []
    parts += [f"{tokens.value:,.0f} tokens"] if tokens else []
    if not parts:
        return ""
    costs = " and ".join(parts)
    return f"Retraining without the planted documents, which a ledger makes possible, costs {costs}."


def line_of(view: PricedView, subject: Subject, effect: Effect, settings: int = 1) -> Line:
    """One effect as a line; `settings` is of how many it is the best."""
    setting, attack = effect.setting, effect.attack

    def at(metric: Price, *, about: str = "", control: str = "") -> Estimate | None:
        return view.at(subject, setting, metric, attack=about, control=control)

    lost = [one.points for one in effect.found.values()]
    slower = at(Price.SLOWDOWN)
    near = view.at(subject, setting, Price.ASR, attack=attack, condition=Condition.NEAR_TRIGGER.value)
    back = at(Price.RELEARNING, about=attack)
    clean_back = view.at(subject, CLEAN, Price.RELEARNING, attack=attack)
    random, wrong = (
        at(Price.ASR, about=attack, control=control.value)
        for control in (Control.RANDOM, Control.WRONG_LAYER)
    )
    return Line(
        method=name(setting.method),
        setting=set_as(setting),
        choice=f"best of {settings}" if settings > 1 else "",
        heals=setting.heals,
        kind=one_line(setting.kind, 30),
        colour=KIND_COLOURS.get(setting.kind, CLEAN_COLOUR),
        glyph=REGIME_MARKS.get(setting.regime, ("", "○"))[1],
        before=percent(effect.before.value),
        after=percent(effect.after.value),
        interval=span(effect.after.low, effect.after.high),
        near=percent(near.value) if near else "",
        rests_on=f"n = {effect.after.n:,}"
        + (f" over {len(effect.found)} seeds" if len(effect.found) > 1 else ""),
        verdict=effect.verdict,
        seeds=_by_seed(effect),
        gone=f"{effect.seeds_of(*GONE)}/{effect.present}" if effect.missing else "",
        points=points_text(effect.points) if view.changes(subject, setting) else "–",
        points_range=f"{points_text(min(lost))}–{points_text(max(lost))}"
        if max(lost) - min(lost) >= 0.05
        else "",
        decided=_decided(view, subject, effect),
        kl=nats(at(Price.KL)),
        seconds=_seconds(at(Price.SECONDS)),
        choosing=_choosing(at(Price.SECONDS), at(Price.CHOOSING_SECONDS)),
        slowdown="–" if slower is None else f"{slower.value:.2f}×",
        relearning=steps(back),
        clean_relearning=steps(clean_back) if back and clean_back else "",
        random=_share(random) if random else NO_CONTROL,
        wrong_layer=_share(wrong),
    )


def points_text(points: float) -> str:
    """Points of utility, to a tenth."""
    return "no end" if math.isinf(points) else f"{points:,.1f}" if points < 99.95 else f"{points:,.0f}"


def points_of(budget: float) -> str:
    """A budget in words, as it was set."""
    return f"{budget:g} point{'' if budget == 1 else 's'} of utility"


def steps(estimate: Estimate | None) -> str:
    """Steps until an attack is back; `>` where in some seed it was not within the most that were tried."""
    if estimate is None:
        return "–"
    open_end = any(run.low is not None and run.high is None for run in estimate.runs.values())
    return f"{'>' if open_end else ''}{estimate.value:,.0f}"


def took(seconds: float) -> str:
    """Seconds, with a decimal where they are few."""
    if 0 < seconds < 0.05:
        return "<0.1 s"
    return f"{seconds:.1f} s" if 0 < seconds < 9.95 else duration(seconds)


def titled(setting: Setting) -> str:
    """A method with its setting, on one line."""
    return ", ".join(filter(None, (name(setting.method), set_as(setting))))


def set_as(setting: Setting) -> str:
    """How a method was set, and whether it was made against all attacks at once."""
    return ", ".join(filter(None, (one_line(setting.variant, 60), "for all" if setting.against_all else "")))


def _attack_list(view: PricedView, subject: Subject, attack: str, effects: Sequence[Effect]) -> AttackList:
    best = best_settings(effects)
    some = effects[0]
    # Of all seeds, those without any cure among them.
    before = view.at(subject, UNTREATED, Price.ASR, attack=attack) or some.before
    near = view.at(subject, UNTREATED, Price.ASR, attack=attack, condition=Condition.NEAR_TRIGGER.value)
    return AttackList(
        attack,
        name(attack),
        percent(before.value),
        span(before.low, before.high),
        percent(near.value) if near else "",
        percent(some.clean.value) if some.clean else "–",
        span(some.clean.low, some.clean.high) if some.clean else "",
        tuple(line_of(view, subject, one, _settings(one, effects)) for one in best),
    )


def _settings(effect: Effect, effects: Iterable[Effect]) -> int:
    own = effect.setting._replace(variant="")
    return len({one.setting for one in effects if one.setting._replace(variant="") == own})


def _by_seed(effect: Effect) -> str:
    if len(effect.found) + len(effect.missing) < 2:
        return ""
    counts = {verdict.value: effect.seeds_of(verdict) for verdict in Verdict}
    counts["no such cure"] = len(effect.missing)
    told = [f"{became} in {count}" for became, count in counts.items() if count]
    return f"in all {len(effect.found)} seeds" if len(told) == 1 else ", ".join(told) + " seeds"


def _decided(view: PricedView, subject: Subject, effect: Effect) -> str:
    changes = view.changes(subject, effect.setting)
    if not changes:
        return "not measured"
    worst = max(changes, key=lambda metric: changes[metric])
    return _DECIDED[worst] if changes[worst] > 0 else ""


def nats(estimate: Estimate | None) -> str:
    """A divergence in nats a token."""
    if estimate is None:
        return "–"
    if estimate.value < _LEAST_NATS:
        return "<.001" if estimate.value > 0 else "0"
    return f"{estimate.value:.3f}" if estimate.value < 0.1 else f"{estimate.value:.2f}"


def _seconds(estimate: Estimate | None) -> str:
    return "–" if estimate is None else took(estimate.value)


def _choosing(making: Estimate | None, choosing: Estimate | None) -> str:
    """What it took to find a setting, its own making included; empty where that was all of it."""
    if choosing is None or choosing.value <= (1.01 * making.value if making else 0.0):
        return ""
    return took(choosing.value)


def _share(estimate: Estimate | None) -> str:
    return "–" if estimate is None else percent(estimate.value)
