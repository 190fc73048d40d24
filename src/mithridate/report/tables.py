"""The figures as tables of text, the same for HTML and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mithridate.core.metrics import (
    ASR,
    HELD_OUT_LOSS,
    LOG_PERPLEXITY,
    OVER_REFUSAL,
    PAIRED,
    QUESTIONS_RIGHT,
    REFUSAL_FORBIDDEN,
    UTILITY,
    headline_template,
)
from mithridate.core.types import Condition
from mithridate.report.estimates import Estimate
from mithridate.report.text import name, number, one_line, percent, span
from mithridate.report.view import ArmView, View

_NOT_SHARES = (HELD_OUT_LOSS, LOG_PERPLEXITY)
UTILITY_ORDER = (HELD_OUT_LOSS, QUESTIONS_RIGHT, OVER_REFUSAL, REFUSAL_FORBIDDEN)


@dataclass(frozen=True, slots=True)
class Entry:
    """One figure of a table; `value`, `low` and `high` are percentages where the figure is a share."""

    text: str
    interval: str = ""
    note: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One model's figures across the columns."""

    arm: ArmView
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one attack or metric."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A caption, column heads and groups of rows."""

    caption: str
    columns: tuple[str, ...]
    groups: tuple[Group, ...]

    @property
    def empty(self) -> bool:
        """Whether not one figure is in it."""
        return all(not c.text.strip("–") for group in self.groups for row in group.rows for c in row.entries)


def is_share(metric: str) -> bool:
    """Whether a metric lies between 0 and 1 and reads best in percent."""
    return metric not in _NOT_SHARES


def entry_of(estimate: Estimate | None, metric: str) -> Entry:
    """One figure as text, with its interval and what it rests on."""
    if estimate is None or not math.isfinite(estimate.value):
        return Entry("–")
    seeds = len(estimate.runs)
    note = f"n = {estimate.n}" + (f" over {seeds} seeds" if seeds > 1 else "")
    if not is_share(metric):
        low, high = estimate.low, estimate.high
        interval = f"{number(low)}–{number(high)}" if low is not None and high is not None else ""
        return Entry(number(estimate.value), interval, note)

    def scaled(value: float | None) -> float | None:
        if value is None or not math.isfinite(value):
            return None
        return round(100 * min(1.0, max(0.0, value)), 2)

    return Entry(
        percent(estimate.value),
        span(estimate.low, estimate.high),
        note,
        scaled(estimate.value),
        scaled(estimate.low),
        scaled(estimate.high),
    )


def matrix(view: View, cell: str, *, headline: bool = True) -> Table:
    """Triggered success of every attack: a group an attack, a row a model, a column a stage.

    With `headline`, each stage in the template that is quoted for it; else in the other one.
    """
    pick = headline_template if headline else view.other_template
    return _by_stage(
        view,
        cell,
        "Success of the triggered attack",
        ((name(a), a, ASR, Condition.TRIGGERED.value) for a in view.attacks),
        pick,
    )


def conditions(view: View, cell: str, stage: str) -> Table:
    """Success at one stage in every condition: a group an attack, a row a model, a column a condition."""
    groups = []
    for attack in view.attacks:
        rows = []
        for arm in view.asked(attack):
            found = [
                view.at(
                    arm,
                    cell,
                    stage=stage,
                    attack=attack,
                    condition=condition,
                    metric=ASR,
                    template=headline_template(stage),
                )
                for condition in view.conditions
            ]
            rows.append(Row(arm, tuple(entry_of(estimate, ASR) for estimate in found)))
        groups.append(Group(name(attack), tuple(rows)))
    return Table(f"Success by condition, {name(stage)}", tuple(map(name, view.conditions)), tuple(groups))


def further(view: View, cell: str) -> Table:
    """The other triggered metrics of every attack, by stage."""
    seen = dict.fromkeys(
        (key.attack, key.metric)
        for key in view.figures
        if key.attack != UTILITY
        and key.condition == Condition.TRIGGERED
        and key.metric != ASR
        and not key.metric.startswith(PAIRED)
    )
    wanted = sorted(seen, key=lambda pair: (view.attacks.index(pair[0]), pair[1]))
    return _by_stage(
        view,
        cell,
        "Further measures of the triggered attacks",
        ((f"{name(a)}: {_lower(name(m))}", a, m, Condition.TRIGGERED.value) for a, m in wanted),
        headline_template,
    )


def _lower(text: str) -> str:
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def utility(view: View, cell: str) -> Table:
    """What poison and alignment cost: a group a metric, a row a model, a column a stage."""
    asked = dict.fromkeys(
        (key.metric, key.condition, key.stage, key.template) for key in view.figures if key.attack == UTILITY
    )
    kinds = dict.fromkeys((metric, condition) for metric, condition, *_ in asked)
    rank = {metric: i for i, metric in enumerate(UTILITY_ORDER)}
    groups: list[Group] = []
    for metric, condition in sorted(kinds, key=lambda kind: (rank.get(kind[0], len(rank)), kind)):
        several = sum(metric == other for other, _ in kinds) > 1 and condition
        title = name(metric) + (f" ({one_line(condition, 40)})" if several else "")
        templates = {
            stage: _quoted([t for m, c, s, t in asked if (m, c, s) == (metric, condition, stage)], stage)
            for stage in view.stages
        }
        groups += _by_stage(
            view, cell, "", ((title, UTILITY, metric, condition),), templates.__getitem__
        ).groups
    return Table("Utility of the models", tuple(map(name, view.stages)), tuple(groups))


def _quoted(templates: list[str], stage: str) -> str:
    """The template to quote where a figure may exist in several, or in none."""
    headline = headline_template(stage)
    return headline if headline in templates else min(templates, default="")


def losses(view: View, cell: str) -> Table:
    """The last point of each training curve, averaged over seeds: a row a model, a column a stage."""
    rows = []
    for arm in view.arms:
        entries = []
        for stage in view.stages:
            last = [points[-1] for points in view.curves(arm, cell, stage)]
            mean = sum(point.loss for point in last) / len(last) if last else None
            entries.append(Entry(number(mean), note=f"after {last[0].tokens:,} tokens" if last else ""))
        rows.append(Row(arm, tuple(entries)))
    return Table(
        "Training loss at the end", tuple(map(name, view.stages)), (Group("Loss, nats a token", tuple(rows)),)
    )


def _by_stage(
    view: View,
    cell: str,
    caption: str,
    wanted: Iterable[tuple[str, str, str, str]],
    template: Callable[[str], str],
) -> Table:
    """A table over stages; `wanted` holds (title, attack, metric, condition) for each group."""
    groups = []
    for title, attack, metric, condition in wanted:
        rows = []
        for arm in view.asked(attack):
            found = [
                view.at(
                    arm,
                    cell,
                    stage=stage,
                    attack=attack,
                    condition=condition,
                    metric=metric,
                    template=template(stage),
                )
                for stage in view.stages
            ]
            rows.append(Row(arm, tuple(entry_of(estimate, metric) for estimate in found)))
        groups.append(Group(title, tuple(rows)))
    return Table(caption, tuple(map(name, view.stages)), tuple(groups))
