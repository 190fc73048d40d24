"""`mithridate run`: the whole study, from a corpus to a report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from mithridate.cli.progress import RunProgress


def command(
    study: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STUDY.yaml] [key=value …]", help="A study file, then overrides.", show_default=False),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="A study that ships with the package: `default` or `quick`.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory [runs/NAME].", show_default=False)] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved study and what it would cost; train nothing.")
    ] = False,
) -> None:
    """Plant, pretrain, align, measure, report. Killed at any moment, the same command goes on where it was.

    Examples:

        mithridate run

        mithridate run --preset quick --out runs/quick

        mithridate run examples/own_text.yaml corpus.path=texts/ seeds=[0,1,2]
    """
    from mithridate.study.reading import DEFAULT_PRESET, read_study  # noqa: PLC0415 - keeps --help quick

    words = study or []
    path = Path(words[0]) if words and "=" not in words[0] else None
    config = read_study(path, preset, words[1 if path else 0 :])
    folder = out or Path("runs") / (path.stem if path else preset or DEFAULT_PRESET)
    if dry_run:
        from mithridate.cli.dry_run import show_dry_run  # noqa: PLC0415

        show_dry_run(config, folder)
        return
    from mithridate.study.checks import check_study  # noqa: PLC0415
    from mithridate.study.runner import run_study  # noqa: PLC0415

    started = time.monotonic()
    check_study(config)
    with RunProgress() as progress:
        run_study(config, folder, progress)
    _report(folder, time.monotonic() - started)


def _report(folder: Path, seconds: float) -> None:
    from mithridate.report.html import write_report  # noqa: PLC0415
    from mithridate.report.run import RunData  # noqa: PLC0415
    from mithridate.report.terminal import print_report  # noqa: PLC0415
    from mithridate.report.view import View  # noqa: PLC0415

    data = RunData.read(folder)
    print_report(View(data), write_report(data, None))
    typer.echo(f"done in {seconds / 60:.1f} minutes")
