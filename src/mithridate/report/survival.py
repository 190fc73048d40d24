"""How much of each attack was left after the last stage, seed by seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from mithridate.core.metrics import ASR
from mithridate.core.types import Arm, Measurement, Stage, TemplateUse
from mithridate.report.claims import learnt
from mithridate.report.estimates import Estimate, Key, estimates
from mithridate.report.evidence import Contrast, contrast, triggered_asr


@dataclass(frozen=True, slots=True)
class Survival:
    """One attack of one seed: whether it was learnt at base, and the share of its excess that was kept.

    `kept` is the excess over the clean twin after the last stage, over that of the base model, each in the
    template that is quoted for its stage; `planted`, the same with the last stage asked in the planted
    templates. Both may be below 0 or above 1; None where a twin, a stage or an excess is missing.
    """

    learnt: bool
    kept: float | None
    planted: float | None


def survivals(rows: Iterable[Measurement]) -> dict[tuple[str, str, str, str, int], Survival]:
    """The survival of every attack, by cell, dose, model, attack and seed.

    Whether it was learnt is decided by the rule of `claims`, on the probes of that seed alone.
    """
    by_seed: dict[int, list[Measurement]] = defaultdict(list)
    for row in rows:
        by_seed[row.seed].append(row)
    return {
        (*about, seed): survival
        for seed, of in sorted(by_seed.items())
        for about, survival in _of_seed(estimates(of)).items()
    }


def _of_seed(cells: dict[Key, Estimate]) -> dict[tuple[str, str, str, str], Survival]:
    poisoned = [key for key in cells if key.arm == Arm.POISONED.value and key.metric == ASR]
    stages = [stage.value for stage in Stage if any(key.stage == stage.value for key in poisoned)]
    abouts = dict.fromkeys((key.cell, key.dose, key.model, key.attack) for key in poisoned)
    return {about: _survival(cells, stages, *about) for about in abouts}


def _survival(
    cells: dict[Key, Estimate], stages: list[str], cell: str, dose: str, model: str, attack: str
) -> Survival:
    first, last = (
        triggered_asr(stage, attack, dose, cell, model) for stage in (Stage.BASE.value, stages[-1])
    )
    base = contrast(cells, first)
    if base is None or first == last:
        return Survival(base is not None and learnt(base), None, None)
    planted = last._replace(template=TemplateUse.SAME.value)
    return Survival(learnt(base), _share(base, contrast(cells, last)), _share(base, contrast(cells, planted)))


def _share(base: Contrast, final: Contrast | None) -> float | None:
    return None if final is None or base.excess <= 0 else final.excess / base.excess
