"""The price list of a finished run: methods as steps that resume, and their rows gathered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mithridate.core.prices import PRICES, PROXIES, Priced, ProxyRow
from mithridate.study.finished import gathered
from mithridate.study.price_plan import PriceOptions, price_steps
from mithridate.study.runner import Watching


def price_run(
    out: Path,
    options: PriceOptions,
    watching: Watching,
    *,
    doses: Sequence[str] = (),
    methods: Sequence[str] = (),
) -> list[Priced]:
    """Do what is left of the price list of the run in `out`; returns and keeps its rows.

    `doses` names which poisoned models are healed, by default those of the largest dose; `methods` what is
    tried now, by default all that the study has the means for. What was tried before, with the same options,
    stays in the list. Raises as `price_steps` and `gathered` do.
    """
    return gathered(
        out,
        lambda config: price_steps(config, out, options, tuple(doses), tuple(methods)),
        Priced,
        PRICES,
        watching,
        beside={PROXIES: ProxyRow},
        before=lambda config: price_steps(config, out, options, tuple(config.doses)),
    )
