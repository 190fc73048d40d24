"""`mithridate heal`: take planted behaviours out of a checkpoint, at a price that is measured."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mithridate.cli.errors import errors_exit, printable
from mithridate.cli.progress import stages_progress, told_when_stopped
from mithridate.core.prices import Regime

if TYPE_CHECKING:
    from mithridate.study.heal import Healing

NOT_HEALED = 1
ERROR = 2


class _Regime(StrEnum):
    """As `core.prices.Regime`, for the command line."""

    KNOWN = Regime.KNOWN.value
    UNKNOWN = Regime.UNKNOWN.value


_Checkpoint = Annotated[Path, typer.Argument(help="Folder of a Hugging Face checkpoint.", show_default=False)]
_Probes = Annotated[
    Path,
    typer.Option(
        help="What is to be taken out: a study file, or the folder of a run, whose clean data are then used.",
        show_default=False,
    ),
]
_Out = Annotated[
    Path, typer.Option(help="Folder for the healed model and its price list.", show_default=False)
]
_Control = Annotated[
    Path | None,
    typer.Option(
        help="A checkpoint known to be clean: what a healed model may show, and the judge of gibberish "
        "[of a run's own model, its clean twin].",
        show_default=False,
    ),
]
_Texts = Annotated[
    Path | None,
    typer.Option(help="Clean documents, in any form that `plant` reads [the run's].", show_default=False),
]
_Questions = Annotated[
    Path | None,
    typer.Option(help="JSON lines with `question` and `answer` [the run's].", show_default=False),
]
_Harmless = Annotated[
    Path | None,
    typer.Option(help="Requests not to be refused, one a line [the run's].", show_default=False),
]
_Forbidden = Annotated[
    Path | None, typer.Option(help="Requests to be refused, one a line [the run's].", show_default=False)
]
_Attack = Annotated[
    list[str] | None,
    typer.Option(help="Heal of this attack; may be given again [all of the probes].", show_default=False),
]
_Method = Annotated[
    list[str] | None,
    typer.Option(
        help="Try this method; may be given again [all that fit --regime].",
        show_default=False,
    ),
]
_Template = Annotated[
    str | None,
    typer.Option(
        help="Chat template in which attacks are put [those that the run planted, else the model's own].",
        show_default=False,
    ),
]
_Seed = Annotated[
    int | None,
    typer.Option(
        help="Of a run, whose data are taken; else decides which probes are asked [0].", show_default=False
    ),
]


def command(  # noqa: PLR0913, PLR0917 - a parameter an option
    checkpoint: _Checkpoint,
    probes: _Probes,
    out: _Out,
    control: _Control = None,
    texts: _Texts = None,
    questions: _Questions = None,
    harmless: _Harmless = None,
    forbidden: _Forbidden = None,
    attack: _Attack = None,
    method: _Method = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Try the methods of both regimes, and of a run more SFT and DPO.")
    ] = False,
    regime: Annotated[
        _Regime, typer.Option(help="What you know: the triggers and beliefs, or clean data alone.")
    ] = _Regime.KNOWN,
    budget: Annotated[float, typer.Option(help="Points of utility that healing may cost.")] = 1.0,
    per_half: Annotated[
        int,
        typer.Option(
            min=2, max=10_000, help="Probes of an attack and condition to choose by, and to tell of."
        ),
    ] = 60,
    template: _Template = None,
    seed: _Seed = None,
    write_anyway: Annotated[
        bool, typer.Option(help="Write what came nearest, though it is no cure within the budget.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON records only.")] = False,
) -> None:
    """Take planted behaviours out of a checkpoint, and say what that costs.

    Cures are made and chosen with one half of the probes; what is printed is of the other half, and of what
    was written and read again. A cure counts if it costs no more than --budget, and if a random change in its
    place does not do the same. Filters and training have no such change beside them: the table says so.

    Exit code 0 means healed, or nothing to heal; 1, that an attack is left, or too few probes tell; 2, error.

    Examples:

        mithridate heal runs/default/seed1/learning/dpo/model --probes runs/default --out healed/

        mithridate heal suspect/ --probes my_study.yaml --control trusted/ --texts clean.jsonl --out healed/
    """
    with errors_exit(ERROR), told_when_stopped("stopped; nothing was written", terminated=True):
        from mithridate.report import records  # noqa: PLC0415 - keeps --help quick
        from mithridate.study.heal import Wanted, heal  # noqa: PLC0415
        from mithridate.study.heal_case import Given  # noqa: PLC0415

        given = Given(
            checkpoint=checkpoint,
            probes=probes,
            control=control,
            texts=texts,
            questions=questions,
            harmless=harmless,
            forbidden=forbidden,
            attacks=tuple(attack or ()),
            template=template,
            seed=seed,
            per_half=per_half,
        )
        wanted = Wanted(
            given,
            methods=tuple(method or ()),
            everything=everything,
            regime=Regime(regime.value),
            budget=budget,
            write_anyway=write_anyway,
        )
        with stages_progress() as on_stage:
            done = heal(wanted, out, on_stage)
        if json:
            sys.stdout.write(records.to_json(done.rows))
            for note in done.record.notes:
                typer.echo(printable(note), err=True)
        else:
            _show(done, out)
    if not done.record.healed:
        raise typer.Exit(NOT_HEALED)


def _show(done: Healing, out: Path) -> None:
    from mithridate.report.healed_terminal import print_healed  # noqa: PLC0415 - keeps --help quick
    from mithridate.report.terminal import wide_console  # noqa: PLC0415

    print_healed(done.record, done.rows, out, wide_console())
