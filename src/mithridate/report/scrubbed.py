"""Models trained without what filters ranked first, as a report sees them: beliefs by filter and share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from mithridate.core.metrics import ASR, HELD_OUT_LOSS
from mithridate.core.run_files import CLEAN
from mithridate.core.scrubbed import UNFILTERED, Belief, Scrubbed
from mithridate.core.statistics import Interval
from mithridate.core.types import Arm, Condition
from mithridate.report.differences import difference, joined


class Corpus(NamedTuple):
    """Whose corpus was filtered: the model of one dose, in one cell of the grid."""

    cell: str
    model: str


Rows = dict[int, Scrubbed]
"""The figure of each seed."""


@dataclass(frozen=True)
class ScrubbedView:
    """All figures of one experiment."""

    rows: tuple[Scrubbed, ...]

    @cached_property
    def _found(self) -> dict[tuple[Corpus, str, float, str, str, str], Rows]:
        found: dict[tuple[Corpus, str, float, str, str, str], Rows] = {}
        for row in self.rows:
            about = (row.method, row.wanted, row.belief, row.condition, row.metric)
            found.setdefault((Corpus(row.cell, row.model), *about), {})[row.seed] = row
        return found

    @cached_property
    def corpora(self) -> list[Corpus]:
        """Poisoned corpora that were filtered."""
        return list(dict.fromkeys(Corpus(r.cell, r.model) for r in self.rows if r.arm != Arm.CLEAN))

    @cached_property
    def methods(self) -> list[str]:
        """Filters, in the order of their rows."""
        return [m for m in dict.fromkeys(row.method for row in self.rows) if m != UNFILTERED]

    @cached_property
    def shares(self) -> list[float]:
        """Shares of documents that were to be removed, from the smallest; 0 is the corpus as it is."""
        return sorted({row.wanted for row in self.rows})

    @cached_property
    def beliefs(self) -> list[str]:
        """Stated before scattered, as far as the study has them."""
        there = {row.belief for row in self.rows}
        return [belief.value for belief in Belief if belief in there]

    @cached_property
    def seeds(self) -> list[int]:
        """All seeds."""
        return sorted({row.seed for row in self.rows})

    def success(
        self, corpus: Corpus, method: str, share: float, belief: str, condition: str = Condition.TRIGGERED
    ) -> Rows:
        """How often a belief shows, by seed; with nothing removed, whoever filters."""
        return self._at(corpus, method, share, belief, condition, ASR)

    def loss(self, corpus: Corpus, method: str, share: float) -> Rows:
        """The held-out loss by seed."""
        return self._at(corpus, method, share, "", "", HELD_OUT_LOSS)

    def _at(
        self, corpus: Corpus, method: str, share: float, belief: str, condition: str, metric: str
    ) -> Rows:
        chosen = method if share else UNFILTERED
        return self._found.get((corpus, chosen, share, belief, condition, metric), {})

    def excess(self, corpus: Corpus, method: str, share: float, belief: str) -> Interval | None:
        """How much more often a belief shows than one of the same kind that nobody planted.

        That control is of the same model, so that a removal that harms everything is no cure. From three
        seeds on the interval is over seeds, below it is the range of Newcombe's. None where one is missing.
        """
        return difference(*self._beside(corpus, method, share, belief))

    def excesses(self, corpus: Corpus, method: str, share: float, belief: str) -> dict[int, Interval]:
        """The same seed by seed."""
        told, unplanted = self._beside(corpus, method, share, belief)
        return {
            seed: joined([(1.0, told[seed]), (-1.0, unplanted[seed])])
            for seed in sorted(told.keys() & unplanted.keys())
        }

    def _beside(self, corpus: Corpus, method: str, share: float, belief: str) -> tuple[Rows, Rows]:
        """What was planted, and beside it what was not."""
        told = self.success(corpus, method, share, belief)
        return told, self.success(corpus, method, share, belief, Condition.UNTRIGGERED)

    def clean(self, corpus: Corpus, belief: str) -> Rows:
        """How often the clean twin says what is planted, by seed; one that cells share is under no cell."""
        places = (Corpus(corpus.cell, CLEAN), Corpus("", CLEAN))
        found = (self.success(place, UNFILTERED, 0.0, belief) for place in places)
        return next(filter(None, found), {})
