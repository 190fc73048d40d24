"""One figure for each cell of the matrix, whatever the number of seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mithridate.core.types import Arm, Measurement

BOOTSTRAP_SEEDS = 3
"""From this many seeds on, intervals are bootstrapped across seeds."""
RESAMPLES = 2000
CONFIDENCE = 0.95


class Key(NamedTuple):
    """What a figure is about; seeds are what it is averaged over."""

    stage: str
    arm: str
    dose: str
    cell: str
    attack: str
    condition: str
    metric: str
    template: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds with a 95 % interval; `runs` holds the figure of each seed."""

    value: float
    low: float | None
    high: float | None
    runs: Mapping[int, Measurement]

    @property
    def n(self) -> int:
        """Observations, added up over seeds."""
        return sum(run.n for run in self.runs.values())


def estimates(rows: Iterable[Measurement]) -> dict[Key, Estimate]:
    """Every figure of a run, averaged over its seeds.

    The interval of one seed is the one measured (Wilson for shares). Two seeds give the hull of both. From
    three on it is a percentile bootstrap of the mean over seeds; where all seeds agree to the last digit that
    would have no width, and the hull stands.
    """
    seen: dict[Key, dict[int, Measurement]] = defaultdict(dict)
    for row in rows:
        # A later row replaces an earlier one of the same key and seed: it was measured again.
        seen[key_of(row)][row.seed] = row
    return {key: estimate(runs) for key, runs in seen.items()}


def find(cells: Mapping[Key, Estimate], key: Key) -> Estimate | None:
    """The figure at `key`; a clean twin that several cells of a grid share is kept under no cell."""
    found = cells.get(key)
    if found is None and key.arm == Arm.CLEAN.value:
        found = cells.get(key._replace(cell=""))
    return found


def key_of(row: Measurement) -> Key:
    """The cell of the matrix that `row` belongs to."""
    return Key(row.stage, row.arm, row.dose, row.cell, row.attack, row.condition, row.metric, row.template)


def estimate(runs: Mapping[int, Measurement]) -> Estimate:
    """The mean over `runs` (one a seed) with its interval."""
    values = [run.value for run in runs.values()]
    low, high = hull([(run.low, run.high) for run in runs.values()])
    if len(values) >= BOOTSTRAP_SEEDS and len(set(values)) > 1:
        low, high = bootstrap(values)
    return Estimate(sum(values) / len(values), low, high, dict(sorted(runs.items())))


def hull(intervals: Sequence[tuple[float | None, float | None]]) -> tuple[float | None, float | None]:
    """The smallest interval that holds all of them; (None, None) if one is open."""
    lows = [low for low, _ in intervals if low is not None]
    highs = [high for _, high in intervals if high is not None]
    if len(lows) < len(intervals) or len(highs) < len(intervals) or not intervals:
        return None, None
    return min(lows), max(highs)


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the mean of `values`, one a seed; the same on every call."""
    import numpy as np  # noqa: PLC0415 - records need no statistics and should not wait for them
    from scipy import stats  # noqa: PLC0415

    result = stats.bootstrap(
        (np.asarray(values, dtype=float),),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
