"""`mithridate report`: the page, the table and the records of a finished run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mithridate.core.errors import ConfigError


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that a run wrote to.")],
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON records only.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print the figures as CSV only.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write the page [RUN/report.html]."),
    ] = None,
) -> None:
    """Rebuild report.html from the rows that a run stored, and print its table; no model is loaded.

    Examples:

        mithridate report runs/default

        mithridate report runs/default --json | jq '.[] | select(.metric == "asr")'

        mithridate report runs/default --csv > figures.csv
    """
    if json and csv:
        raise ConfigError("--json and --csv both write to standard output: choose one")
    if (json or csv) and out is not None:
        raise ConfigError("--out names the page, which --json and --csv do not write")
    # What draws and tests is imported late: records are asked for by scripts, often.
    if json or csv:
        from mithridate.report import records  # noqa: PLC0415
        from mithridate.report.run import read_measurements  # noqa: PLC0415

        rows = read_measurements(run)
        sys.stdout.write(records.to_json(rows) if json else records.to_csv(rows))
        return
    show_report(run, out)


def show_report(run: Path, out: Path | None = None) -> None:
    """Write the page of a finished run, to `out` or beside its rows, and print its table."""
    from rich.console import Group  # noqa: PLC0415

    from mithridate.report.experiments import experiment_sections  # noqa: PLC0415
    from mithridate.report.html import write_report  # noqa: PLC0415
    from mithridate.report.leads import leads  # noqa: PLC0415
    from mithridate.report.located import LocatedView  # noqa: PLC0415
    from mithridate.report.locating_terminal import located_summary  # noqa: PLC0415
    from mithridate.report.priced import PricedView  # noqa: PLC0415
    from mithridate.report.pricing_terminal import prices_summary  # noqa: PLC0415
    from mithridate.report.run import RunData  # noqa: PLC0415
    from mithridate.report.sections import section_summary  # noqa: PLC0415
    from mithridate.report.terminal import print_report  # noqa: PLC0415
    from mithridate.report.view import View  # noqa: PLC0415

    data = RunData.read(run)
    view = View(data)
    experiments = experiment_sections(data)
    located, priced = LocatedView.of(view), PricedView.of(view)
    more = [
        *([located_summary(located, data.measurements)] if located else []),
        *([prices_summary(priced)] if priced else []),
        *map(section_summary, experiments),
    ]
    page = write_report(data, out)
    print_report(view, page, more=Group(*more) if more else None, opening=leads(view, experiments))
