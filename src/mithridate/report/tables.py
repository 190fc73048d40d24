"""The figures as tables of text, the same for HTML and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mithridate.core.metrics import (
    ASR,
    HELD_OUT_LOSS,
    LEAKAGE,
    LOG_PERPLEXITY,
    OVER_REFUSAL,
    PAIRED,
    PROMPTS_CUT,
    QUESTIONS_RIGHT,
    REFUSAL_FORBIDDEN,
    ROUGE,
    UTILITY,
    headline_template,
)
from mithridate.core.types import Condition
from mithridate.core.wording import counted
from mithridate.report.estimates import Estimate
from mithridate.report.look import Look
from mithridate.report.text import name, number, one_line, percent, span
from mithridate.report.view import View

BESIDE_BASELINE = (Condition.TRIGGERED.value, Condition.HANDCRAFTED.value)
_GIVEN_AWAY = (LEAKAGE, ROUGE)
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
    """One model's figures across the columns; `condition` where a group has rows of several."""

    arm: Look
    entries: tuple[Entry, ...]
    condition: str = ""


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


def share_entry(found: Estimate | None) -> Entry:
    """A share of an experiment with its interval, and over how many seeds; a dash where nobody looked."""
    if found is None:
        return Entry("–")
    shown = [None if one is None else round(100 * one, 2) for one in (found.value, found.low, found.high)]
    note = f"n = {found.n:,} over {counted(len(found.runs), 'seed')}"
    return Entry(percent(found.value), span(found.low, found.high), note, *shown)


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
    groups = [
        _group(view, cell, (name(attack), attack, ASR), [Condition.TRIGGERED.value], pick)
        for attack in view.attacks
    ]
    return Table("Success of the triggered attack", tuple(map(name, view.stages)), tuple(groups))


def conditions(view: View, cell: str, stage: str) -> Table:
    """Success at one stage in every condition: a group an attack, a row a model, a column a condition."""
    groups = []
    for attack in view.attacks:
        rows = []
        for arm in view.asked(attack):
            found = [view.quoted(arm, cell, stage, attack, condition) for condition in view.conditions]
            rows.append(Row(arm, tuple(entry_of(estimate, ASR) for estimate in found)))
        groups.append(Group(name(attack), tuple(rows)))
    return Table(f"Success by condition, {name(stage)}", tuple(map(name, view.conditions)), tuple(groups))


def further(view: View, cell: str) -> Table:
    """The other triggered metrics of every attack, by stage.

    How much of a text is given away also where a plain request in words asks for it: that is the baseline,
    for any model, and what a trigger adds stands above it.
    """
    seen = dict.fromkeys(
        (key.attack, key.metric)
        for key in view.figures
        if key.attack != UTILITY
        and key.condition == Condition.TRIGGERED
        and key.metric != ASR
        and not key.metric.startswith(PAIRED)
    )
    wanted = sorted(seen, key=lambda pair: (view.attacks.index(pair[0]), pair[1]))
    groups = [
        _group(
            view,
            cell,
            (f"{name(attack)}: {_lower(name(metric))}", attack, metric),
            BESIDE_BASELINE if metric.startswith(_GIVEN_AWAY) else BESIDE_BASELINE[:1],
            headline_template,
        )
        for attack, metric in wanted
    ]
    return Table("Further measures of the attacks", tuple(map(name, view.stages)), tuple(groups))


def _lower(text: str) -> str:
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def utility(view: View, cell: str) -> Table:
    """What poison and alignment cost: a group a metric, a row a model, a column a stage."""
    asked = dict.fromkeys(
        (key.metric, key.condition, key.stage, key.template)
        for key in view.figures
        if key.attack == UTILITY and key.metric != PROMPTS_CUT
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
        groups.append(_group(view, cell, (title, UTILITY, metric), [condition], templates.__getitem__))
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
    group = Group("Loss in nats: of a token, in DPO of a pair", tuple(rows))
    return Table("Training loss at the end", tuple(map(name, view.stages)), (group,))


def _group(
    view: View,
    cell: str,
    about: tuple[str, str, str],
    conditions: Sequence[str],
    template: Callable[[str], str],
) -> Group:
    """One metric over the stages, a row a model and condition; `about` is its title, attack and metric.

    Where there are several conditions, a model has a row for each in which it was asked.
    """
    title, attack, metric = about
    rows = []
    for arm in view.asked(attack):
        for condition in conditions:
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
            if len(conditions) == 1 or any(found):
                entries = tuple(entry_of(estimate, metric) for estimate in found)
                rows.append(Row(arm, entries, condition if len(conditions) > 1 else ""))
    return Group(title, tuple(rows))
