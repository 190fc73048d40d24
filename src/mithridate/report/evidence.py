"""What the rule of `claims` is applied to: each attack against its clean twin, at one stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mithridate.core.metrics import ASR, PAIRED, headline_template
from mithridate.core.run_files import CLEAN
from mithridate.core.statistics import detectable_excess, detectable_mean, mean_differs, newcombe
from mithridate.core.types import Arm, Condition
from mithridate.report.estimates import (
    Estimate,
    Figure,
    Key,
    across_seeds,
    estimate,
    find,
    tell_apart,
    whole_range,
)

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Contrast:
    """An attack on the poisoned model against the same probes on its clean twin, at one stage.

    `excess` is the poisoned success rate minus the clean twin's (a share), between `low` and `high`. `p` is
    of the paired test, `detectable` the smallest excess that a test of this size finds with 80% power.
    """

    stage: str
    template: str
    poisoned: Estimate
    clean: Estimate
    excess: float
    low: float
    high: float
    p: float
    detectable: float


def contrast(cells: Mapping[Key, Estimate], about: Key, tests: int = 1) -> Contrast | None:
    """The contrast for the poisoned arm's cell `about`, or None where a twin or the paired test is missing.

    Only seeds that both twins have count, with figures that are shares at all. `tests` is the number of
    attacks tested together, for the power.
    """
    clean = find(cells, about._replace(arm=Arm.CLEAN.value, dose="", model=CLEAN))
    poisoned, paired = cells.get(about), cells.get(about._replace(metric=PAIRED))
    if clean is None or poisoned is None or paired is None:
        return None
    three = (poisoned, clean, paired)
    seeds = [s for s in poisoned.runs if all(s in e.runs and 0 <= e.runs[s].value <= 1 for e in three)]
    if not seeds:
        return None
    poisoned, clean = (estimate({s: e.runs[s] for s in seeds}) for e in (poisoned, clean))
    excesses = [poisoned.runs[s].value - clean.runs[s].value for s in seeds]
    low, high = _interval(excesses, poisoned, clean)
    return Contrast(
        stage=about.stage,
        template=about.template,
        poisoned=poisoned,
        clean=clean,
        excess=sum(excesses) / len(excesses),
        low=low,
        high=high,
        p=_p_value(excesses, [paired.runs[s].value for s in seeds]),
        detectable=_detectable(excesses, clean.value, poisoned.n, ALPHA / max(1, tests)),
    )


def triggered_asr(stage: str, attack: str, dose: str, cell: str, model: str) -> Key:
    """The cell of the poisoned arm that claims are about."""
    return Key(
        stage,
        Arm.POISONED.value,
        dose,
        cell,
        attack,
        Condition.TRIGGERED.value,
        ASR,
        headline_template(stage),
        model,
    )


def _interval(excesses: list[float], poisoned: Estimate, clean: Estimate) -> tuple[float, float]:
    """Across seeds; below three, the range of Newcombe's intervals.

    The twins answer the same probes and are taken as independent, so each is too wide where their answers go
    together: on the safe side.
    """
    if found := across_seeds(excesses):
        return found
    each = [newcombe(*_counts(poisoned.runs[s]), *_counts(clean.runs[s])) for s in poisoned.runs]
    low, high = whole_range([(interval.low, interval.high) for interval in each])
    assert low is not None and high is not None
    return low, high


def _counts(row: Figure) -> tuple[int, int]:
    """Successes and trials of a share."""
    return round(row.value * row.n), row.n


def _p_value(excesses: list[float], paired: list[float]) -> float:
    """Below three seeds, the weakest paired test: each seed must show it. Then a t-test across seeds."""
    return mean_differs(excesses) if tell_apart(excesses) else max(paired)


def _detectable(excesses: list[float], clean_share: float, n: int, alpha: float) -> float:
    """What the test in use can find: by the number of probes, and from three seeds on by their spread too."""
    least = detectable_excess(clean_share, n, alpha)
    return min(1.0, max(least, detectable_mean(excesses, alpha))) if tell_apart(excesses) else least
