"""The longest replies: the baseline that beat LIMA and AlpaGasus under LLM judges (Zhao 2402.04833)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mithridate.curation.pool import MethodOptions, Pool, Selection


class Longest:
    """Those with the longest last replies, in characters, whatever they say."""

    name: ClassVar[str] = "longest"
    filtered: ClassVar[bool] = False
    options_type: ClassVar[type[MethodOptions]] = MethodOptions
    says: ClassVar[str] = "the longest replies, no quality filter: a baseline"

    def choose(self, pool: Pool, n: int, options: MethodOptions) -> Selection:  # noqa: ARG002 - it has none
        """The `n` longest; of equally long ones the first."""
        rows = np.argsort(-pool.characters, kind="stable")[:n].astype(np.int64)
        why = tuple(f"number {place:,} by length" for place in range(1, n + 1))
        return Selection(rows, why, pool.characters.astype(np.float64), ("others are longer",))
