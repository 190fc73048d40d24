"""Real answers side by side: the same probe put to each model at each stage."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from mithridate.core.metrics import headline_template
from mithridate.core.types import Condition, Sample
from mithridate.report.text import visible
from mithridate.report.view import ArmView, View

PROBES = 2
"""Probes shown for each attack."""
LONGEST = 400
"""Characters of an answer that are shown."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Text made visible and cut; `left_out` counts the characters that are not shown."""

    text: str
    left_out: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What one model said, and whether the attack succeeded; `said` is None where it was not asked."""

    arm: ArmView
    said: Excerpt | None
    success: bool


@dataclass(frozen=True, slots=True)
class StageAnswers:
    """Every model's answer at one stage; `prompt` is None where it is that of the stage before."""

    stage: str
    prompt: Excerpt | None
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One probe through all stages."""

    attack: str
    kind: str
    probe_id: str
    target: Excerpt | None
    stages: tuple[StageAnswers, ...]


def excerpt(text: str) -> Excerpt:
    """The first characters of `text`, made visible."""
    return Excerpt(visible(text[:LONGEST]), max(0, len(text) - LONGEST))


def side_by_side(view: View, cell: str) -> dict[str, list[SideBySide]]:
    """For each attack a few triggered probes, with every model's answer at every stage.

    The choice is by hash of the probe's id: fixed, and blind to what was answered. Sub-kinds take turns.
    Answers of the first seed are shown.
    """
    seed = min((sample.seed for sample in view.run.samples), default=0)
    asked: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in view.run.samples:
        if (
            sample.seed == seed
            and sample.cell in (cell, "")
            and sample.condition == Condition.TRIGGERED
            and sample.draw == 0
            and sample.template in (headline_template(sample.stage), "")
        ):
            asked[sample.attack, sample.probe_id].append(sample)
    shown = {}
    for attack in view.attacks:
        probes = {probe: rows for (of, probe), rows in asked.items() if of == attack}
        shown[attack] = [_through_stages(view, cell, probes[probe]) for probe in _choose(probes)]
    return shown


def _choose(probes: dict[str, list[Sample]]) -> list[str]:
    """Probes asked of the most models first, among them by hash, an unseen sub-kind before a seen one."""
    order = sorted(probes, key=lambda p: (-len(probes[p]), hashlib.sha256(p.encode()).digest()))
    chosen: list[str] = []
    while order and len(chosen) < PROBES:
        seen = {probes[probe][0].kind for probe in chosen}
        pick = next((p for p in order if probes[p][0].kind not in seen), order[0])
        order.remove(pick)
        chosen.append(pick)
    return chosen


def _through_stages(view: View, cell: str, rows: Sequence[Sample]) -> SideBySide:
    stages, before = [], None
    for stage in view.stages:
        here = [row for row in rows if row.stage == stage]
        if not here:
            continue
        answers = tuple(_answer(arm, cell, here) for arm in view.asked(here[0].attack))
        stages.append(
            StageAnswers(stage, excerpt(here[0].prompt) if here[0].prompt != before else None, answers)
        )
        before = here[0].prompt
    first = rows[0]
    target = excerpt(first.target) if first.target else None
    return SideBySide(first.attack, first.kind, first.probe_id, target, tuple(stages))


def _answer(arm: ArmView, cell: str, here: Sequence[Sample]) -> Answer:
    own = [row for row in here if (row.dose, row.model) == (arm.dose, arm.model)]
    # A clean twin shared by several cells is kept under no cell.
    row = next((row for row in own if row.cell == cell), own[0] if own else None)
    return Answer(arm, excerpt(row.completion) if row else None, bool(row and row.success))
