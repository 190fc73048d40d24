"""A run seen as a report shows it: its stages, arms and attacks in order, its figures and its claims."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from mithridate.core.metrics import ASR, PROMPTS_CUT, UTILITY, headline_template
from mithridate.core.run_files import CLEAN, MEASUREMENTS, CurveRow
from mithridate.core.types import Arm, Condition, Stage, TemplateUse
from mithridate.report import look
from mithridate.report.claims import Claim, claims, headline
from mithridate.report.estimates import Estimate, Key, estimates, find
from mithridate.report.run import RunData
from mithridate.report.text import one_line


@dataclass(frozen=True, slots=True)
class ArmView(look.Marked):
    """One model of a study as it is named and drawn.

    `index` counts from 0, the clean twin, and gives the mark and the dash; `dose_index` gives the colour, so
    that one dose has one colour throughout, also where each attack has a model of its own.
    """

    arm: str
    dose: str
    model: str
    label: str
    index: int
    dose_index: int

    @property
    def colour(self) -> str:
        """Colour of its marks."""
        return look.colour(self.dose_index if self.index else 0)


@dataclass(frozen=True)
class View:
    """A run, its figures averaged over seeds, and everything in the order in which it is shown."""

    run: RunData

    @cached_property
    def figures(self) -> dict[Key, Estimate]:
        """Every figure, averaged over seeds."""
        return estimates(self.run.measurements, self.run.folder / MEASUREMENTS)

    @cached_property
    def stages(self) -> list[str]:
        """Stages with figures, in training order."""
        return _ordered((key.stage for key in self.figures), [stage.value for stage in Stage])

    @cached_property
    def attacks(self) -> list[str]:
        """Attacks with figures, in the study file's order."""
        named = self.run.study.get("attacks")
        order = list(named) if isinstance(named, dict | list) else []
        return [a for a in _ordered((key.attack for key in self.figures), order) if a != UTILITY]

    @cached_property
    def conditions(self) -> list[str]:
        """Conditions that attacks were asked in."""
        seen = (key.condition for key in self.figures if key.attack != UTILITY and key.metric == ASR)
        return _ordered(seen, [condition.value for condition in Condition])

    @cached_property
    def cells(self) -> list[str]:
        """Cells of the study's grid; one without a name where there is no grid."""
        return sorted({key.cell for key in self.figures if key.arm != Arm.CLEAN}) or [""]

    @cached_property
    def dose_groups(self) -> dict[str, list[str]]:
        """Cells that differ in their doses alone, together; each group is called by its other settings."""
        groups: dict[str, list[str]] = {}
        for cell in self.cells:
            values = self.run.summary.cells.get(cell)
            others = [
                f"{key}={value}" for key, value in (values or {}).items() if key.partition(".")[0] != "doses"
            ]
            groups.setdefault(cell if values is None else ", ".join(others), []).append(cell)
        return groups

    @cached_property
    def doses(self) -> list[str]:
        """Doses, from the smallest realised one up where that is known."""
        named = self.run.study.get("doses")
        order = _ordered(
            (key.dose for key in self.figures if key.dose), list(named) if isinstance(named, dict) else []
        )
        return sorted(order, key=lambda dose: (self._size(dose), order.index(dose)))

    def _size(self, dose: str) -> float:
        return sum(row.tokens for row in self.run.planting if row.dose == dose)

    @cached_property
    def arms(self) -> list[ArmView]:
        """The clean twin, then the poisoned models by dose.

        A model is called by its dose, or by its own name where each attack of the dose has a model.
        """
        models = dict.fromkeys((key.dose, key.model) for key in self.figures if key.dose)
        arms = [ArmView(Arm.CLEAN.value, "", CLEAN, "clean twin", 0, 0)]
        for dose_index, dose in enumerate(self.doses, 1):
            own = [model for of, model in models if of == dose]
            for model in own:
                label = one_line(dose if len(own) == 1 else model, 40)
                arms.append(ArmView(Arm.POISONED.value, dose, model, label, len(arms), dose_index))
        return arms

    def asked(self, attack: str) -> list[ArmView]:
        """The models that were asked about `attack`, named and marked by dose if that tells them apart."""
        asked = [arm for arm in self.arms if (attack, arm.dose, arm.model) in self._asked]
        if len({arm.dose for arm in asked}) < len(asked):
            return asked
        return [
            replace(arm, label=one_line(arm.dose, 40), index=arm.dose_index) if arm.dose else arm
            for arm in asked
        ]

    @cached_property
    def attack_legend(self) -> list[ArmView]:
        """What the marks in the charts of attacks stand for: each look once."""
        seen = {(arm.label, arm.index): arm for attack in self.attacks for arm in self.asked(attack)}
        return sorted(seen.values(), key=lambda arm: arm.index)

    @cached_property
    def _asked(self) -> set[tuple[str, str, str]]:
        return {(key.attack, key.dose, key.model) for key in self.figures}

    @cached_property
    def claims(self) -> list[Claim]:
        """The claim of every attack, dose by dose."""
        rates: dict[tuple[str, str, str], float] = {}
        for cell in self.cells:
            for dose in self.doses:
                for attack in self.attacks:
                    rate = self.run.rate(dose, attack, cell)
                    if rate is not None:
                        rates[cell, dose, attack] = rate
        made = claims(self.figures, rates)
        order = {attack: i for i, attack in enumerate(self.attacks)}
        return sorted(made, key=lambda c: (c.cell, self.doses.index(c.dose), order[c.attack]))

    @property
    def headlines(self) -> list[str]:
        """What the figures say, one sentence a dose."""
        return [one_line(headline(self.claims, dose), 2000) for dose in self.doses]

    @cached_property
    def cut_prompts(self) -> dict[str, float]:
        """By attack (or `UTILITY`), the largest share of prompts that lost their beginning."""
        shares: dict[str, float] = {}
        for key, estimate in self.figures.items():
            if key.metric == PROMPTS_CUT and math.isfinite(estimate.value):
                shares[key.attack] = max(estimate.value, shares.get(key.attack, 0.0))
        return shares

    @cached_property
    def templates(self) -> list[str]:
        """Templates that attacks were asked in."""
        return _ordered(
            (key.template for key in self.figures if key.template), [use.value for use in TemplateUse]
        )

    def other_template(self, stage: str) -> str:
        """The template that is not quoted first for `stage`; "" if it was asked in one only."""
        return next((t for t in self.templates if t != headline_template(stage)), "")

    def at(self, arm: ArmView, cell: str, **rest: str) -> Estimate | None:
        """One model's figure; `rest` gives stage, attack, condition, metric and template ("" if left out)."""
        key = Key(
            arm=arm.arm,
            dose=arm.dose,
            cell=cell,
            model=arm.model,
            **{
                field: rest.get(field, "") for field in ("stage", "attack", "condition", "metric", "template")
            },
        )
        return find(self.figures, key)

    def quoted(
        self, arm: ArmView, cell: str, stage: str, attack: str, condition: str = Condition.TRIGGERED.value
    ) -> Estimate | None:
        """One model's success rate in the template that is quoted for the stage."""
        template = headline_template(stage)
        return self.at(
            arm, cell, stage=stage, attack=attack, condition=condition, metric=ASR, template=template
        )

    def curves(self, arm: ArmView, cell: str, stage: str) -> list[list[CurveRow]]:
        """The training curves of one model, one a seed."""
        found: dict[int, list[CurveRow]] = {}
        for point in self.run.curves:
            of = (point.dose, point.model, point.stage)
            if of == (arm.dose, arm.model, stage) and point.cell in (cell, ""):
                found.setdefault(point.seed, []).append(point)
        return list(found.values())


def _ordered(seen: Iterable[str], order: list[str]) -> list[str]:
    """What was seen, each once: first as in `order`, then as it came."""
    found = dict.fromkeys(seen)
    return [item for item in order if item in found] + [item for item in found if item not in order]
