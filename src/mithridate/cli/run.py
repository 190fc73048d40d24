"""`mithridate run`: the whole study, from a corpus to a report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mithridate.cli.progress import GOES_ON, RunProgress, told_when_stopped
from mithridate.cli.report import show_report
from mithridate.core.errors import ConfigError

if TYPE_CHECKING:
    from mithridate.study.config import StudyConfig


def command(
    study: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDY.yaml] [key=value …]", help="A study file, then overrides.", show_default=False
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="A study that ships with the package: `default` or `quick`.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory [runs/NAME].", show_default=False)] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the resolved study and what it would cost; train nothing."),
    ] = False,
) -> None:
    """Plant, pretrain, align, measure, report. Killed at any moment, the same command goes on where it was.

    Examples:

        mithridate run

        mithridate run --preset quick --out runs/quick

        mithridate run examples/own_text.yaml corpus.path=texts/ 'seeds=[0,1,2]'
    """
    from mithridate.study.reading import DEFAULT_PRESET, read_study  # noqa: PLC0415 - keeps --help quick

    path, overrides = _sorted(study or [])
    config = read_study(path, preset, overrides)
    folder = out or Path("runs") / (path.stem if path else preset or DEFAULT_PRESET)
    with told_when_stopped("stopped" if dry_run else GOES_ON):
        if dry_run:
            from mithridate.cli.dry_run import show_dry_run  # noqa: PLC0415

            show_dry_run(config, folder)
        else:
            _run(config, folder)


def _sorted(words: list[str]) -> tuple[Path | None, list[str]]:
    """The study file, if one is named, and the overrides."""
    files = [word for word in words if "=" not in word]
    if len(files) > 1:
        raise ConfigError(f"{' and '.join(files)}: name one study file; everything after it reads key=value")
    return (Path(files[0]) if files else None), [word for word in words if "=" in word]


def _run(config: StudyConfig, folder: Path) -> None:
    from mithridate.study.checks import check_study  # noqa: PLC0415 - keeps --help quick
    from mithridate.study.runner import run_study  # noqa: PLC0415

    started = time.monotonic()
    check_study(config)
    with RunProgress() as progress:
        run_study(config, folder, progress)
    show_report(folder)
    typer.echo(f"done in {(time.monotonic() - started) / 60:.1f} minutes")
