"""What `mithridate run --dry-run` prints: the resolved study, and what it would make and cost."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from mithridate.core.wording import counted
from mithridate.study.checks import check_study
from mithridate.study.config import StudyConfig
from mithridate.study.estimate import Estimate, estimate
from mithridate.study.reading import study_to_text, with_attack_defaults


def show_dry_run(config: StudyConfig, out: Path) -> None:
    """Print it; nothing is trained or written. Redirected to a file, it is a study file, costs as comments.

    Raises as `check_study` does.
    """
    check_study(config)
    console = Console()
    text = study_to_text(with_attack_defaults(config))
    if console.is_terminal:
        console.print(Syntax(text, "yaml", background_color="default"))
    else:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    with console.capture() as costs:
        _show_costs(console, estimate(config), out)
    margin = "" if console.is_terminal else "# "
    for line in costs.get().splitlines():
        print(f"{margin}{line}".rstrip())


def _show_costs(console: Console, found: Estimate, out: Path) -> None:
    console.print(f"run directory: {out}", markup=False)
    console.print(
        f"{counted(found.models, 'model')} ({counted(found.cells, 'cell')} x "
        f"{counted(found.seeds, 'seed')} x {found.twins} arms) of {found.parameters / 1e6:.2f}M parameters"
    )
    if found.retrained:
        again = counted(found.retrained, "base model")
        console.print(f"and {again} more, each without the documents that a filter removed")
    if found.tuned:
        tuned = counted(found.tuned, "model")
        console.print(
            f"and {tuned} tuned on alignment data, on about {found.tuned_tokens:,} tokens in all, "
            f"{_about(found.tuned_seconds)} of the time below"
        )
    console.print(f"tokens: about {found.tokens:,} a model, {found.all_tokens:,} in all")
    table = Table(
        "dose", "attack", "asked for", "documents (about)", "tokens (about)", box=None, pad_edge=False
    )
    for row in found.planted:
        table.add_row(*row)
    console.print(table)
    console.print(
        f"time: {_about(found.seconds)} on "
        f"{counted(found.workers, 'worker')} here, from a measured {found.tokens_per_second:,.0f} tokens/s "
        "in pretraining"
    )


def _about(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"about {counted(minutes, 'minute')}" if minutes else "less than a minute"
