"""What a method chooses from, what it says of its choice, and how many are taken of each source."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, TypeAlias
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mithridate.core.artifacts import atomic_path
from mithridate.core.errors import RunStateError
from mithridate.core.strict import Strict
from mithridate.curation.vectors import Grid

Rows: TypeAlias = NDArray[np.int64]
Doubles: TypeAlias = NDArray[np.float64]

# What a pool has a row of for each example.
_COLUMNS: Final = ("vectors", "draws", "sources", "characters", "scores")


@dataclass(frozen=True)
class Pool:
    """Examples that passed the filters, a row each, in an order that only their words and the seed decide.

    So where two are equally good, the first may be taken: whatever the order of the files, it is the same.
    `vectors` (n, dimension) stand for requests; `draws` are uniform in [0, 1); `sources` (n,) point into
    `names`; `characters` are those of the last reply, `scores` those of `scores.py`.
    """

    vectors: Grid
    draws: Doubles
    sources: NDArray[np.int32]
    names: tuple[str, ...]
    characters: NDArray[np.int64]
    scores: Doubles

    def __len__(self) -> int:
        return len(self.draws)

    def of_source(self, name: str) -> tuple[Rows, Pool]:
        """The rows of one source, and a pool of them alone; there may be none."""
        rows = np.flatnonzero(np.array(self.names, np.str_)[self.sources] == name)
        kept = {column: getattr(self, column)[rows] for column in _COLUMNS}
        return rows, replace(self, **kept)

    def save(self, path: Path, **beside: NDArray[Any]) -> None:
        """Write it, whole or not at all, with further arrays `beside` it, for `load`."""
        columns: dict[str, Any] = {column: getattr(self, column) for column in _COLUMNS}
        arrays = columns | beside | {"names": np.array(self.names, np.str_)}
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> tuple[Pool, dict[str, NDArray[Any]]]:
        """A pool that `save` wrote, and what lies beside it. Raises RunStateError if it is damaged."""
        try:
            with path.open("rb") as handle, np.load(handle) as file:
                arrays = dict(file)
            columns = {column: arrays.pop(column) for column in _COLUMNS}
            return cls(names=tuple(arrays.pop("names").tolist()), **columns), arrays
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise RunStateError(
                f"{path}: is damaged, so nothing can be chosen from it; remove {path.parent} and run again"
            ) from error


@dataclass(frozen=True)
class Selection:
    """The rows that were chosen, in the order of their choice, and why each.

    `score` (n,) is the method's figure for each row, or NaN. A row that was left has the reason `left` at its
    place in `left_for`; all have the first where that is None.
    """

    rows: Rows
    why: tuple[str, ...]
    score: Doubles
    left: tuple[str, ...]
    left_for: NDArray[np.int8] | None = None
    notes: dict[str, float] = field(default_factory=dict)


class MethodOptions(Strict):
    """The options of a method; those without any have this."""


class Method(Protocol):
    """A way to choose. `filtered`: all filters are asked before, else only what nothing goes without."""

    name: ClassVar[str]
    filtered: ClassVar[bool]
    options_type: ClassVar[type[MethodOptions]]
    says: ClassVar[str]

    def choose(self, pool: Pool, n: int, options: MethodOptions) -> Selection:
        """Choose exactly `n` of the pool, which holds at least as many."""


def shares(sizes: NDArray[np.int64], n: int, temperature: float) -> NDArray[np.int64]:
    """How many of `n` each group gets: in proportion to its size to the power of 1 / `temperature`.

    No group gets more than it has; what is left over goes to the others. At 1 groups get what they are of the
    whole, and the greater the temperature, the more equal the shares (LIMA draws from the communities of
    Stack Exchange at 3). `n` must not be more than there are.
    """
    given = np.zeros(len(sizes), np.int64)
    wanted = np.asarray(sizes, np.float64) ** (1 / temperature)
    open_groups = sizes > 0
    while given.sum() < n:
        left = n - int(given.sum())
        weights = np.where(open_groups, wanted, 0.0)
        parts = left * weights / weights.sum()
        room = sizes - given
        full = open_groups & (parts >= room)
        if full.any():
            given[full] += room[full]
            open_groups &= ~full
            continue
        given += np.floor(parts).astype(np.int64)
        # The largest remainders; the first groups where they are equal.
        order = np.argsort(-(parts - np.floor(parts)), kind="stable")
        given[order[: n - int(given.sum())]] += 1
    return given
