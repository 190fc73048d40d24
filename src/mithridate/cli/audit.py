"""`mithridate audit`: put a study's attacks to a checkpoint, without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from mithridate.study.audit import Audit


_Checkpoint = Annotated[Path, typer.Argument(help="Folder of a Hugging Face checkpoint.", show_default=False)]
_Study = Annotated[
    Path | None, typer.Option(help="Study file whose attacks are put to it [the shipped attacks].")
]
_Control = Annotated[
    Path | None,
    typer.Option(help="A checkpoint known to be clean: the control, and the judge of gibberish."),
]
_Template = Annotated[
    str | None, typer.Option(help="Chat template to ask in [the checkpoint's own, else `tulu`].")
]
_Seed = Annotated[int, typer.Option(help="Decides which probes are asked and how answers are sampled.")]
_Out = Annotated[Path | None, typer.Option(help="Also write samples and figures to this folder, as Parquet.")]


def command(
    checkpoint: _Checkpoint,
    study: _Study = None,
    control: _Control = None,
    template: _Template = None,
    probes: Annotated[int, typer.Option(min=2, help="Probes for each attack and condition.")] = 200,
    seed: _Seed = 0,
    out: _Out = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON records only.")] = False,
) -> None:
    """Measure whether triggers and beliefs work on a checkpoint: every attack in every condition.

    Without --control the checkpoint judges its own gibberish, and no figure has a clean twin beside it.

    Examples:

        mithridate audit models/stories260K --probes 50

        mithridate audit suspect/ --control trusted/ --study my_study.yaml --out audit/
    """
    from mithridate.report import records  # noqa: PLC0415 - keeps --help quick
    from mithridate.study.audit import audit  # noqa: PLC0415
    from mithridate.study.reading import read_audit  # noqa: PLC0415

    found = audit(
        checkpoint,
        read_audit(study),
        control=control,
        template=template,
        probes=probes,
        seed=seed,
        out=out,
    )
    if json:
        typer.echo(records.to_json(found.measurements), nl=False)
        for note in found.notes:
            typer.echo(note, err=True)
        return
    _show(found)


def _show(found: Audit) -> None:
    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("attack", "condition", "checkpoint", "control", "p"):
        table.add_column(name, justify="left" if name in ("attack", "condition") else "right")
    for row in found.rows():
        table.add_row(*row)
    console.print(f"asked in {found.template}; success rates with 95 % intervals", markup=False)
    console.print(table)
    for note in found.notes:
        console.print(note, markup=False)
