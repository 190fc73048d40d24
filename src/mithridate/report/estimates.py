"""One figure for each cell of the matrix, whatever the number of seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from mithridate.core.errors import DataError
from mithridate.core.run_files import MEASUREMENTS
from mithridate.core.statistics import bootstrap_mean
from mithridate.core.types import Arm, Measurement

ENOUGH_SEEDS = 3
"""From this many seeds on, seeds are the unit: intervals and tests are across them."""


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
    model: str = ""


class Figure(Protocol):
    """A figure of one seed with its interval: a `Measurement`, or a row of localisation."""

    @property
    def value(self) -> float:
        """The figure."""

    @property
    def low(self) -> float | None:
        """The lower end of its interval, if it has one."""

    @property
    def high(self) -> float | None:
        """The upper end."""

    @property
    def n(self) -> int:
        """Observations that it rests on."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds with a 95 % interval; `runs` holds the figure of each seed."""

    value: float
    low: float | None
    high: float | None
    runs: Mapping[int, Figure]

    @property
    def n(self) -> int:
        """Observations, added up over seeds."""
        return sum(run.n for run in self.runs.values())


def estimates(rows: Iterable[Measurement], source: Path = Path(MEASUREMENTS)) -> dict[Key, Estimate]:
    """Every figure of a run, averaged over its seeds.

    The interval of one seed is the one measured (Wilson for shares). That of two seeds is the range of both
    intervals. From three on it is a percentile bootstrap of the mean over seeds; where all seeds agree to the
    last digit that would have no width, and the range of all intervals stands.

    Raises DataError, naming `source`, if two rows give different figures for one key and seed.
    """
    seen: dict[Key, dict[int, Measurement]] = defaultdict(dict)
    for row in rows:
        key = key_of(row)
        before = seen[key].setdefault(row.seed, row)
        # What was measured again and found the same is no contradiction. As text, since NaN equals nothing.
        if repr(before) != repr(row):
            about = ", ".join(f"{field} {value!r}" for field, value in key._asdict().items() if value)
            raise DataError(
                f"holds two figures for {about}, seed {row.seed}: {before.value:g} and {row.value:g}. "
                "Tables of two runs do not go together; `mithridate run` on the run directory writes it anew",
                path=source,
            )
    return {key: estimate(runs) for key, runs in seen.items()}


def find(cells: Mapping[Key, Estimate], key: Key) -> Estimate | None:
    """The figure at `key`; a clean twin that several cells of a grid share is kept under no cell."""
    found = cells.get(key)
    if found is None and key.arm == Arm.CLEAN.value:
        found = cells.get(key._replace(cell=""))
    return found


def key_of(row: Measurement) -> Key:
    """The cell of the matrix that `row` belongs to."""
    return Key(**{field: getattr(row, field) for field in Key._fields})


def estimate(runs: Mapping[int, Figure]) -> Estimate:
    """The mean over `runs` (one a seed) with its interval."""
    values = [run.value for run in runs.values()]
    low, high = across_seeds(values) or whole_range([(run.low, run.high) for run in runs.values()])
    return Estimate(sum(values) / len(values), low, high, dict(sorted(runs.items())))


def tell_apart(values: Sequence[float]) -> bool:
    """Whether there are enough seeds, and any difference between them, to speak of how they vary."""
    return len(values) >= ENOUGH_SEEDS and len(set(values)) > 1


def across_seeds(values: Sequence[float]) -> tuple[float, float] | None:
    """The interval of a mean over seeds, one value a seed; None where seeds are too few or all agree."""
    if not tell_apart(values):
        return None
    found = bootstrap_mean(values, seed=0, method="percentile")
    assert found.low is not None and found.high is not None
    return found.low, found.high


def whole_range(intervals: Sequence[tuple[float | None, float | None]]) -> tuple[float | None, float | None]:
    """From the lowest end of the intervals to the highest; (None, None) if one is open."""
    lows = [low for low, _ in intervals if low is not None]
    highs = [high for _, high in intervals if high is not None]
    if len(lows) < len(intervals) or len(highs) < len(intervals) or not intervals:
        return None, None
    return min(lows), max(highs)
