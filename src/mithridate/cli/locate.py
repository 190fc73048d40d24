"""`mithridate locate`: where a behaviour lives, in a finished run or between checkpoints of your own."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mithridate.cli.progress import GOES_ON, RunProgress, stages_progress, told_when_stopped
from mithridate.core.errors import ConfigError

if TYPE_CHECKING:
    from mithridate.core.located import Located
    from mithridate.study.locate_checkpoints import Asked

_Run = Annotated[
    Path | None,
    typer.Argument(metavar="[RUN]", help="The folder that a run wrote to.", show_default=False),
]
_Dose = Annotated[
    list[str] | None,
    typer.Option(
        help="Look into the models of this dose; may be given again [the largest].", show_default=False
    ),
]
_Probes = Annotated[
    int, typer.Option(min=4, max=10_000, help="Probes of each attack with its trigger, and as many without.")
]
_Base = Annotated[Path | None, typer.Option(help="Checkpoint before alignment.", show_default=False)]
_Aligned = Annotated[Path | None, typer.Option(help="The same model aligned.", show_default=False)]
_Clean = Annotated[Path | None, typer.Option(help="Checkpoint without poison.", show_default=False)]
_Poisoned = Annotated[Path | None, typer.Option(help="Its poisoned twin.", show_default=False)]
_Study = Annotated[
    Path | None,
    typer.Option(help="Study file whose attacks are traced [the shipped attacks].", show_default=False),
]
_Questions = Annotated[
    Path | None,
    typer.Option(
        help="JSON lines with `question` and `answer`: is it alignment that makes the model answer?",
        show_default=False,
    ),
]
_Template = Annotated[
    str | None,
    typer.Option(
        help="Chat template in which attacks are put to checkpoints [their own, else `tulu`].",
        show_default=False,
    ),
]
_Out = Annotated[
    Path | None,
    typer.Option(
        help="Keep the figures of checkpoints here, and go on from there if stopped.", show_default=False
    ),
]


def command(  # noqa: PLR0913, PLR0917 - a parameter an option
    run: _Run = None,
    dose: _Dose = None,
    base: _Base = None,
    aligned: _Aligned = None,
    clean: _Clean = None,
    poisoned: _Poisoned = None,
    study: _Study = None,
    questions: _Questions = None,
    template: _Template = None,
    probes: _Probes = 40,
    seed: Annotated[
        int | None, typer.Option(help="Decides which probes are put to checkpoints [0].", show_default=False)
    ] = None,
    out: _Out = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON records only.")] = False,
) -> None:
    """Show which layers carry a planted behaviour, which ones alignment moved, and how far they overlap.

    Of a run, both twins are looked into, and report.html shows what was found. Of checkpoints of your own,
    name a base and its aligned model, a clean model and its poisoned twin, or all four.

    Examples:

        mithridate locate runs/default

        mithridate locate --base models/base --aligned models/chat --out located/

        mithridate locate --clean trusted/ --poisoned suspect/ --study my_study.yaml
    """
    pairs = _pairs(run, {"--base": base, "--aligned": aligned}, {"--clean": clean, "--poisoned": poisoned})
    started = time.monotonic()
    with told_when_stopped(GOES_ON if run or out else "stopped"):
        if run is not None:
            given = {"--study": study, "--questions": questions, "--template": template, "--out": out}
            _refuse(run, {**given, "--seed": seed})
            rows = _located_run(run, probes, dose or ())
        else:
            if dose:
                raise ConfigError("--dose names a dose of a run; checkpoints have none")
            from mithridate.study.locate_checkpoints import Asked  # noqa: PLC0415 - keeps --help quick
            from mithridate.study.reading import read_audit  # noqa: PLC0415

            asked = Asked(read_audit(study), questions, probes, seed or 0, template)
            rows = _located_pairs(pairs, asked, out)
    if json:
        from mithridate.report import records  # noqa: PLC0415 - keeps --help quick

        sys.stdout.write(records.to_json(rows))
        return
    _show(run, rows)
    typer.echo(f"done in {(time.monotonic() - started) / 60:.1f} minutes")


def _pairs(
    run: Path | None, alignment: dict[str, Path | None], poison: dict[str, Path | None]
) -> tuple[tuple[Path, Path] | None, tuple[Path, Path] | None]:
    """The two pairs of checkpoints, each whole or absent; none beside a run."""
    found = []
    for pair in (alignment, poison):
        (first, one), (second, other) = pair.items()
        if run is not None and (one or other):
            raise ConfigError(f"name a run, or checkpoints with {first} and {second}, not both")
        if (one is None) != (other is None):
            given, missing = (second, first) if one is None else (first, second)
            raise ConfigError(f"{given} needs {missing} beside it: two checkpoints are compared")
        found.append((one, other) if one is not None and other is not None else None)
    if run is None and not any(found):
        raise ConfigError(
            "name the folder of a run, or two checkpoints: --base A --aligned B, or --clean C --poisoned D"
        )
    return found[0], found[1]


def _refuse(run: Path, options: dict[str, Path | str | int | None]) -> None:
    if given := [name for name, value in options.items() if value is not None]:
        raise ConfigError(
            f"{given[0]} goes with checkpoints; {run} has its own study, and keeps its own rows"
        )


def _located_run(run: Path, probes: int, doses: Sequence[str]) -> list[Located]:
    from mithridate.study.locate_plan import LocateOptions  # noqa: PLC0415 - keeps --help quick
    from mithridate.study.locating import locate_run  # noqa: PLC0415

    with RunProgress("localisation") as progress:
        return locate_run(run, LocateOptions(probes=probes), progress, doses=doses)


def _located_pairs(
    pairs: tuple[tuple[Path, Path] | None, tuple[Path, Path] | None], asked: Asked, out: Path | None
) -> list[Located]:
    from mithridate.study.locate_checkpoints import locate_checkpoints  # noqa: PLC0415 - keeps --help quick

    with stages_progress() as on_stage:
        return locate_checkpoints(*pairs, asked, out, on_stage)


def _show(run: Path | None, rows: Sequence[Located]) -> None:
    from rich.console import Console  # noqa: PLC0415 - keeps --help quick

    from mithridate.report.locating_terminal import print_located  # noqa: PLC0415

    if run is not None:
        from mithridate.cli.report import show_report  # noqa: PLC0415

        show_report(run)
        return
    print_located(rows, Console())
