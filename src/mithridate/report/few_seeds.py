"""What too few seeds may say of experiments that train models anew: at most what those seeds alone show."""

from __future__ import annotations

from mithridate.core.wording import counted
from mithridate.report.estimates import ENOUGH_SEEDS
from mithridate.report.statements import StatementVerdict


def by_seeds(verdict: StatementVerdict, said: str, seeds: int) -> tuple[StatementVerdict, str]:
    """A verdict and its reason, as far as so many `seeds` carry it.

    Below three it is inconclusive, and the reason adds what these seeds alone would have said: the interval
    of one training covers chance in its questions, and nothing of what another training would have done.
    How many are needed a section says once, in its words.
    """
    if seeds >= ENOUGH_SEEDS or verdict is StatementVerdict.NOT_TESTED:
        return verdict, said
    alone = ""
    if verdict is not StatementVerdict.INCONCLUSIVE:
        alone = f" By {'this one' if seeds == 1 else 'these'} alone it would be {verdict}."
    return StatementVerdict.INCONCLUSIVE, f"{said} It rests on {counted(seeds, 'seed')}.{alone}"
