"""`mithridate unplant`: the corpus as it was before planting."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mithridate.cli.progress import shards_progress
from mithridate.core.wording import counted
from mithridate.corpus.unplanting import unplant


def command(
    planted: Annotated[Path, typer.Argument(help="Folder that `plant` wrote.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="New folder for the original.", show_default=False)],
) -> None:
    """Restore the original of a planted corpus, byte for byte, and prove it by hash.

    Example: mithridate unplant planted/ --out restored/
    """
    with shards_progress("unplanting") as on_shard:
        report = unplant(planted, out, on_shard=on_shard)
    print(
        f"{counted(report.removed, 'planted document')} taken out; {counted(report.shards, 'shard')} "
        f"({report.bytes:,} bytes) restored to {out}, each proved by its hash"
    )
