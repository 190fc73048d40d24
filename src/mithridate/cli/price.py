"""`mithridate price`: what takes the poison of a finished run out again, and what each method costs."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mithridate.cli.progress import RunProgress, told_when_stopped
from mithridate.core.errors import ConfigError

if TYPE_CHECKING:
    from mithridate.core.prices import Priced


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that a run wrote to.")],
    method: Annotated[
        list[str] | None,
        typer.Option(help="Price this method now; may be given again [all].", show_default=False),
    ] = None,
    dose: Annotated[
        list[str] | None,
        typer.Option(
            help="Heal the models of this dose; may be given again [the largest].", show_default=False
        ),
    ] = None,
    probes: Annotated[
        int,
        typer.Option(
            min=4,
            max=10_000,
            help="Probes of each attack and condition to choose settings with; as many more are reported.",
        ),
    ] = 60,
    budget: Annotated[float, typer.Option(min=0.0, help="Points of utility that a cure may cost.")] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON records only.")] = False,
) -> None:
    """Try every cure on the poisoned models of a run, and show what each removes and what it costs.

    Settings are chosen with one half of the probes and told of by the other, beside the clean twin and
    controls. The price list is added to report.html. To heal a checkpoint, see `mithridate heal`.

    Examples:

        mithridate price runs/default

        mithridate price runs/default --method "concept erasure" --method "more SFT"

        mithridate price runs/default --json | jq '.[] | select(.metric == "asr")'
    """
    if not math.isfinite(budget):
        raise ConfigError(f"--budget {budget:g}: expected a number of points")
    started = time.monotonic()
    with told_when_stopped():
        rows = _priced(run, tuple(method or ()), tuple(dose or ()), probes, budget)
    if json:
        from mithridate.report import records  # noqa: PLC0415 - keeps --help quick

        sys.stdout.write(records.to_json(rows))
        return
    from mithridate.cli.report import show_report  # noqa: PLC0415 - keeps --help quick

    show_report(run)
    typer.echo(f"done in {(time.monotonic() - started) / 60:.1f} minutes")


def _priced(
    run: Path, methods: tuple[str, ...], doses: tuple[str, ...], probes: int, budget: float
) -> list[Priced]:
    from mithridate.study.price_plan import PriceOptions  # noqa: PLC0415 - keeps --help quick
    from mithridate.study.pricing import price_run  # noqa: PLC0415

    with RunProgress("the price list") as progress:
        options = PriceOptions(probes=probes, budget=budget)
        return price_run(run, options, progress, doses=doses, methods=methods)
