"""A price list as tables: every cure on every attack, its controls, and what it left of utility."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mithridate.core.prices import Control, Price
from mithridate.core.types import Condition
from mithridate.report.estimates import Estimate
from mithridate.report.look import CLEAN_COLOUR
from mithridate.report.priced import CLEAN, UNTREATED, PricedView, Setting, Subject
from mithridate.report.pricing_list import KIND_COLOURS, REGIME_MARKS, nats, points_text, set_as, took
from mithridate.report.tables import Entry, Group, Row, Table
from mithridate.report.text import name, number, p_value, percent, span

_UTILITY = (
    ("Held-out loss", Price.HELD_OUT_LOSS),
    ("Questions right", Price.QUESTIONS_RIGHT),
    ("Forbidden refused", Price.REFUSAL_FORBIDDEN),
    ("Harmless refused", Price.OVER_REFUSAL),
    ("Follows context", Price.FOLLOWS),
    ("KL in nats", Price.KL),
)
_NOT_SHARES = frozenset({Price.HELD_OUT_LOSS, Price.KL, Price.P_CONTROL})


@dataclass(frozen=True, slots=True)
class _Line:
    """A row that is a cure, or what cures are compared with."""

    label: str
    colour: str = CLEAN_COLOUR
    glyph: str = "○"


def on_every_attack(view: PricedView, subject: Subject) -> Table:
    """What every setting leaves of every attack, side effects among it: a row a setting."""
    attacks = view.attacks(subject)

    def entries(setting: Setting) -> tuple[Entry, ...]:
        return tuple(_entry(view.at(subject, setting, Price.ASR, attack=attack)) for attack in attacks)

    groups = _groups(view, subject, entries)
    return Table("Every cure, at every setting, on every attack", tuple(map(name, attacks)), groups)


def usefulness(view: PricedView, subject: Subject) -> Table:
    """What every setting left of utility, figure by figure, and how far it moved the model."""
    measured = [
        (title, metric)
        for title, metric in _UTILITY
        if any(view.at(subject, setting, metric) for setting in (UNTREATED, *view.settings(subject)))
    ]

    def entries(setting: Setting) -> tuple[Entry, ...]:
        return tuple(_entry(view.at(subject, setting, metric), metric) for _, metric in measured)

    groups = _groups(view, subject, entries)
    return Table("What every cure leaves of utility", tuple(title for title, _ in measured), groups)


def costs(view: PricedView, subject: Subject) -> Table:
    """What every setting costs in all: utility, time, tokens, and time a token of what is answered."""
    points = {one.setting: one.points for one in view.effects(subject)}

    def entries(setting: Setting) -> tuple[Entry, ...]:
        lost = points.get(setting, math.nan if setting == UNTREATED else _lost(view, subject, setting))
        making, choosing, tokens, slower = (
            view.at(subject, setting, metric)
            for metric in (Price.SECONDS, Price.CHOOSING_SECONDS, Price.TOKENS, Price.SLOWDOWN)
        )
        return (
            Entry("–" if math.isnan(lost) else points_text(lost)),
            *(Entry(took(found.value) if found else "–") for found in (making, choosing)),
            Entry(_short(tokens.value) if tokens else "–"),
            Entry(f"{slower.value:.2f}×" if slower else "–"),
        )

    heads = ("Points lost", "To make", "To find and make", "Tokens to make", "Decoding")
    return Table("What every cure costs", heads, _groups(view, subject, entries))


def _lost(view: PricedView, subject: Subject, setting: Setting) -> float:
    changes = view.changes(subject, setting)
    return max((0.0, *changes.values())) if changes else math.nan


def controls(view: PricedView, subject: Subject) -> Table:
    """The attack that a cure was made against in other conditions, and after controls in its place."""
    groups = []
    for attack in view.attacks(subject):
        rows = []
        aimed = {one.setting for one in view.effects(subject) if one.attack == attack}
        own = [setting for setting in view.settings(subject) if setting in aimed]
        for setting in (UNTREATED, CLEAN, *own):
            entries = tuple(_entry(found, metric) for metric, found in _asked(view, subject, setting, attack))
            rows.append(Row(_line(setting), entries, set_as(setting)))
        groups.append(Group(name(attack), tuple(row for row in rows if _told(row.entries))))
    heads = ("Triggered", "Near trigger", "Untriggered", "Random", "p", "Wrong layer", "p")
    caption = "Each attack by condition, and with controls in the place of the cure"
    return Table(caption, heads, tuple(group for group in groups if group.rows))


def _asked(
    view: PricedView, subject: Subject, setting: Setting, attack: str
) -> list[tuple[Price, Estimate | None]]:
    conditions = (Condition.TRIGGERED, Condition.NEAR_TRIGGER, Condition.UNTRIGGERED)
    found = [
        (Price.ASR, view.at(subject, setting, Price.ASR, attack=attack, condition=condition.value))
        for condition in conditions
    ]
    for control in Control:
        for metric in (Price.ASR, Price.P_CONTROL):
            found.append((metric, view.at(subject, setting, metric, attack=attack, control=control.value)))
    return found


def _groups(
    view: PricedView, subject: Subject, entries: Callable[[Setting], tuple[Entry, ...]]
) -> tuple[Group, ...]:
    """What cures are compared with, then the cures by what they were made against."""
    by_aim: dict[str, list[Setting]] = {"": []}
    for setting in view.settings(subject):
        by_aim.setdefault(setting.aim, []).append(setting)
    order = [*(attack for attack in view.attacks(subject) if attack in by_aim), ""]
    titles = {aim: f"Made against {name(aim).lower()}" for aim in order} | {"": "Made against all attacks"}
    compared = Group("Compared with", _rows((UNTREATED, CLEAN), entries))
    groups = [compared, *(Group(titles[aim], _rows(by_aim[aim], entries)) for aim in order)]
    return tuple(group for group in groups if group.rows)


def _rows(settings: Iterable[Setting], entries: Callable[[Setting], tuple[Entry, ...]]) -> tuple[Row, ...]:
    made = ((setting, entries(setting)) for setting in settings)
    return tuple(Row(_line(setting), found, set_as(setting)) for setting, found in made if _told(found))


def _told(entries: Sequence[Entry]) -> bool:
    return any(entry.text.strip("–") for entry in entries)


_COMPARED: Mapping[Setting, str] = {UNTREATED: "as it is", CLEAN: "clean model"}


def _line(setting: Setting) -> _Line:
    if setting in _COMPARED:
        return _Line(_COMPARED[setting])
    glyph = REGIME_MARKS.get(setting.regime, ("", "○"))[1]
    return _Line(name(setting.method), KIND_COLOURS.get(setting.kind, CLEAN_COLOUR), glyph)


def _entry(estimate: Estimate | None, metric: Price = Price.ASR) -> Entry:
    """A figure; its interval and what it rests on are its note, since many stand side by side."""
    if estimate is None:
        return Entry("–")
    rests_on = f"n = {estimate.n:,}" + (f" over {len(estimate.runs)} seeds" if len(estimate.runs) > 1 else "")
    if metric not in _NOT_SHARES:
        ends = span(estimate.low, estimate.high)
        return Entry(percent(estimate.value).replace("-", "−"), "", ", ".join(filter(None, (ends, rests_on))))
    if metric is Price.P_CONTROL:
        # Over seeds the largest: a mean of p-values says nothing.
        return Entry(p_value(max(run.value for run in estimate.runs.values())), "", rests_on)
    shown = nats(estimate) if metric is Price.KL else number(estimate.value).replace("-", "−")
    known = estimate.low is not None and estimate.high is not None
    ends = f"{number(estimate.low)} to {number(estimate.high)}, " if known else ""
    return Entry(shown, "", f"{ends}{rests_on}".replace("-", "−"))


def _short(count: float) -> str:
    """A number of tokens to three digits, for a narrow column."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"
