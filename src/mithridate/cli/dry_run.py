"""What `mithridate run --dry-run` prints: the resolved study, and what it would make and cost."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

from mithridate.study.checks import check_study
from mithridate.study.config import StudyConfig
from mithridate.study.estimate import estimate
from mithridate.study.reading import study_to_text


def show_dry_run(config: StudyConfig, out: Path) -> None:
    """Print it; nothing is trained or written.

    Raises as `check_study` does.
    """
    check_study(config)
    console = Console()
    text = study_to_text(config)
    if console.is_terminal:
        console.print(Syntax(text, "yaml", background_color="default"))
    else:
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    found = estimate(config)
    console.print(f"run directory: {out}", markup=False)
    console.print(
        f"{found.models} models ({found.cells} cells x {found.seeds} seeds x {found.twins} twins) of "
        f"{found.parameters / 1e6:.2f}M parameters"
    )
    console.print(f"tokens: about {found.tokens:,} a model, {found.all_tokens:,} in all")
    table = Table(
        "dose", "attack", "asked for", "documents (about)", "tokens (about)", box=None, pad_edge=False
    )
    for row in found.planted:
        table.add_row(*row)
    console.print(table)
    console.print(
        f"time: about {found.seconds / 60:.0f} minutes on {found.workers} worker(s) here, from a measured "
        f"{found.tokens_per_second:,.0f} tokens/s in pretraining"
    )
