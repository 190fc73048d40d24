"""What the rule of `claims` is applied to: each attack against its clean twin, at one stage."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mithridate.core.metrics import ASR, PAIRED, headline_template
from mithridate.core.types import Arm, Condition, Measurement
from mithridate.report.estimates import (
    BOOTSTRAP_SEEDS,
    CONFIDENCE,
    Estimate,
    Key,
    bootstrap,
    estimate,
    find,
    hull,
)

ALPHA = 0.05
POWER = 0.8


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

    Only seeds that both twins have count. `tests` is the number of attacks tested together, for the power.
    """
    clean = find(cells, about._replace(arm=Arm.CLEAN.value, dose=""))
    poisoned, paired = cells.get(about), cells.get(about._replace(metric=PAIRED))
    if clean is None or poisoned is None or paired is None:
        return None
    seeds = [s for s in poisoned.runs if s in clean.runs and s in paired.runs]
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


def triggered_asr(stage: str, attack: str, dose: str, cell: str) -> Key:
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
    )


def _interval(excesses: list[float], poisoned: Estimate, clean: Estimate) -> tuple[float, float]:
    if len(excesses) >= BOOTSTRAP_SEEDS and len(set(excesses)) > 1:
        return bootstrap(excesses)
    low, high = hull([newcombe(poisoned.runs[seed], clean.runs[seed]) for seed in poisoned.runs])
    assert low is not None and high is not None
    return low, high


def newcombe(poisoned: Measurement, clean: Measurement) -> tuple[float, float]:
    """Newcombe's 95 % interval of the difference of two shares, taken as independent.

    The twins answer the same probes, so it is too wide where their answers go together: on the safe side.
    """
    from statsmodels.stats.proportion import confint_proportions_2indep  # noqa: PLC0415 - heavy, and claims only

    if min(poisoned.n, clean.n) < 1:
        return -1.0, 1.0
    low, high = confint_proportions_2indep(
        round(poisoned.value * poisoned.n),
        poisoned.n,
        round(clean.value * clean.n),
        clean.n,
        method="newcomb",
        compare="diff",
        alpha=1 - CONFIDENCE,
    )
    return float(low), float(high)


def _p_value(excesses: list[float], paired: list[float]) -> float:
    """Below three seeds, the weakest paired test: each seed must show it. Then a t-test across seeds."""
    if len(excesses) < BOOTSTRAP_SEEDS or len(set(excesses)) == 1:
        return max(paired)
    from scipy import stats  # noqa: PLC0415 - heavy, and claims only

    return float(stats.ttest_1samp(excesses, 0.0).pvalue)


def _detectable(excesses: list[float], clean_share: float, n: int, alpha: float) -> float:
    """What the test in use can find: by the number of probes, and from three seeds on by their spread too."""
    least = detectable(clean_share, n, alpha)
    if len(excesses) < BOOTSTRAP_SEEDS or len(set(excesses)) == 1:
        return least
    from scipy import stats  # noqa: PLC0415 - heavy, and claims only

    # Bloom's multiplier: solvers of the noncentral t lose their footing at two degrees of freedom.
    t = stats.t(len(excesses) - 1)
    multiplier = float(t.ppf(1 - alpha / 2) + t.ppf(POWER))
    return min(1.0, max(least, multiplier * statistics.stdev(excesses) / math.sqrt(len(excesses))))


def detectable(clean_share: float, n: int, alpha: float) -> float:
    """The smallest excess over `clean_share` that a two-sided test of two groups of `n` finds at 80 % power.

    1 where none would do. For unpaired groups, so the paired test finds a little less.
    """
    from statsmodels.stats.power import NormalIndPower  # noqa: PLC0415 - heavy, and claims only

    if n < 2:
        return 1.0
    effect = float(NormalIndPower().solve_power(effect_size=None, nobs1=n, alpha=alpha, power=POWER))
    angle = math.asin(math.sqrt(min(1.0, max(0.0, clean_share)))) + effect / 2
    return 1.0 if angle >= math.pi / 2 else math.sin(angle) ** 2 - clean_share


def holm(p_values: Iterable[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    from statsmodels.stats.multitest import multipletests  # noqa: PLC0415 - heavy, and claims only

    given = [1.0 if math.isnan(p) else p for p in p_values]
    return [float(p) for p in multipletests(given, method="holm")[1]] if given else []
