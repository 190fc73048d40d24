"""Where each behaviour lives in one line, for page and terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mithridate.core.located import REPLIES, Control, Direction, Metric, Pair
from mithridate.core.statistics import Interval
from mithridate.localization.overlap import Profile, profile
from mithridate.report.estimates import Estimate
from mithridate.report.located import LocatedView, Subject, layer_name
from mithridate.report.locations import Location, carried, effect_of, mean_of, transplanted
from mithridate.report.text import name, one_line, p_value, percent, span

BEST = 2
"""Single layers that are named as carrying most."""
TAKEN = "Taken away by alignment"
"""These have no random changes beside them, so nothing is taken off for those."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One of the layers that carry most: its name, and what it carries of the effect either way.

    As in profiles, that is beyond what a random change of the same size carries.
    """

    name: str
    inward: str
    outward: str


@dataclass(frozen=True, slots=True)
class Lies:
    """What there is to trace of a behaviour, and where it lies; texts are ready to be shown.

    `parts` are the shares of its profile in the embeddings, in the lower half of the blocks, and in the upper
    half with the head. Without a profile they are empty. `tried` is whether any layers were moved; `seeds`,
    in how many seeds of how many, where not in all: the effect is over all, the rest over those.
    """

    effect: str
    interval: str
    tried: bool
    layers: tuple[Layer, ...] = ()
    parts: tuple[str, ...] = ()
    depth: str = "–"
    seeds: str = ""


@dataclass(frozen=True, slots=True)
class Against:
    """An attack against alignment: their overlap, and which share of the attack's excess survives.

    `planted` is that share in the planted templates. `chance` is the p of so small or so large an overlap,
    where there is one seed; several are summed up by the interval over seeds.
    """

    overlap: str
    interval: str
    chance: str
    kept: str
    kept_interval: str
    planted: str


@dataclass(frozen=True, slots=True)
class Summary:
    """One behaviour in a line."""

    title: str
    lies: Lies
    against: Against | None = None


@dataclass(frozen=True, slots=True)
class SummaryGroup:
    """Lines of one kind."""

    title: str
    rows: tuple[Summary, ...]

    @property
    def traced(self) -> list[Summary]:
        """The lines of behaviours that there was something to trace of."""
        return [row for row in self.rows if row.lies.tried]

    @property
    def untraced(self) -> list[Summary]:
        """Those whose models differ too little."""
        return [row for row in self.rows if not row.lies.tried]


def summary(view: LocatedView, subject: Subject, found: Sequence[Location]) -> list[SummaryGroup]:
    """What was planted, what alignment taught, and which attacks it took away; empty groups are left out."""
    planted = [
        Summary(
            name(location.attack),
            _lies(view, subject, Pair.POISON, location.attack, location.profile),
            _against(location),
        )
        for location in found
        if location.subject == subject
    ]
    taken = [
        attack for attack in view.attacks(subject) if transplanted(view, subject, Pair.ALIGNMENT, attack)
    ]
    groups = (
        SummaryGroup("Planted, in the base model", tuple(planted)),
        SummaryGroup("Taught by alignment", _of_alignment(view, subject, view.behaviours(subject))),
        SummaryGroup(TAKEN, _of_alignment(view, subject, taken)),
    )
    return [group for group in groups if group.rows]


def _against(location: Location) -> Against:
    overlap, kept, planted = location.overlap, location.kept, location.planted
    chances = [found.facing.chance for found in location.seeds if found.facing.chance]
    p = min(chances[0].lower, chances[0].upper) if len(chances) == 1 else None
    return Against(
        overlap=f"{overlap.value:.2f}" if overlap else "–",
        interval=_decimals(overlap),
        chance="" if p is None else p_value(p),
        kept=_percent(kept.value) if kept else "–",
        kept_interval=span(kept.low, kept.high) if kept else "",
        planted=_percent(planted.value) if planted else "–",
    )


def _of_alignment(view: LocatedView, subject: Subject, behaviours: Sequence[str]) -> tuple[Summary, ...]:
    found = []
    for behaviour in behaviours:
        rows = transplanted(view, subject, Pair.ALIGNMENT, behaviour)
        raw = not any(row.control == Control.RANDOM_CHANGE for row in rows)
        each = [
            profile((row for row in rows if row.seed == seed), uncorrected=raw)
            for seed in view.seeds(subject)
        ]
        lies = _lies(view, subject, Pair.ALIGNMENT, behaviour, mean_of(each))
        found.append(Summary(name(behaviour), lies))
    return tuple(found)


def _lies(view: LocatedView, subject: Subject, pair: Pair, behaviour: str, found: Profile | None) -> Lies:
    effect = effect_of(view, subject, pair, behaviour)
    nats = behaviour == REPLIES
    shown = "–" if effect is None else f"{effect.value:.2f} nats" if nats else _percent(effect.value)
    interval = "" if effect is None else _decimals(effect) if nats else span(effect.low, effect.high)
    traced = {row.seed for row in transplanted(view, subject, pair, behaviour, metric=Metric.CARRIED)}
    asked = len(effect.runs) if effect else len(traced)
    some = f"{len(traced)} of {asked}" if 0 < len(traced) < asked else ""
    if found is None:
        return Lies(shown, interval, bool(traced), seeds=some)
    names = view.layer_names(subject)
    inward, outward = (_beyond(view, subject, pair, behaviour, way) for way in Direction)
    order = sorted(zip(found.layers, found.shares, strict=True), key=lambda pair: -pair[1])[:BEST]
    best = tuple(
        Layer(
            one_line(names.get(layer, layer_name(layer)), 20),
            _of(inward.get(layer)),
            _of(outward.get(layer)),
        )
        for layer, _ in order
    )
    lowest, highest = found.layers[0], found.layers[-1]
    middle = highest // 2
    parts = (found.share(lowest, -1), found.share(0, middle - 1), found.share(middle, highest))
    shares = tuple(f"{round(100 * part)}%" for part in parts)
    return Lies(shown, interval, True, best, shares, f"{found.depth:.2f}", some)


def _beyond(
    view: LocatedView, subject: Subject, pair: Pair, behaviour: str, way: Direction
) -> dict[int, float]:
    """What each layer carries of a behaviour beyond a random change of the same size, if there was one."""
    chance = carried(view, subject, pair, behaviour, way, Control.RANDOM_CHANGE)
    found = carried(view, subject, pair, behaviour, way)
    if not chance:
        return {layer: estimate.value for layer, estimate in found.items()}
    return {layer: found[layer].value - max(0.0, chance[layer].value) for layer in found if layer in chance}


def _of(value: float | None) -> str:
    return "–" if value is None else _percent(value)


def _percent(value: float) -> str:
    return percent(value).replace("-", "−")


def _decimals(interval: Interval | Estimate | None) -> str:
    if interval is None or interval.low is None or interval.high is None:
        return ""
    return f"{interval.low:.2f}–{interval.high:.2f}"
