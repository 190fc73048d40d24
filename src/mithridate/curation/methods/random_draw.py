"""The baselines that any curation must beat: a random draw, with and without quality filters."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mithridate.curation.pool import MethodOptions, Pool, Selection


class Random:
    """A random draw of whatever is no duplicate and not empty."""

    name: ClassVar[str] = "random"
    filtered: ClassVar[bool] = False
    options_type: ClassVar[type[MethodOptions]] = MethodOptions
    says: ClassVar[str] = "a random draw, no quality filter: a baseline"

    def choose(self, pool: Pool, n: int, options: MethodOptions) -> Selection:  # noqa: ARG002 - it has none
        """The `n` lowest draws."""
        rows = np.argsort(pool.draws, kind="stable")[:n].astype(np.int64)
        return Selection(rows, ("drawn",) * n, pool.draws, ("not drawn",))


class Filtered(Random):
    """A random draw of what passed the quality filters."""

    name: ClassVar[str] = "filtered"
    filtered: ClassVar[bool] = True
    says: ClassVar[str] = "quality filters, then a random draw"
