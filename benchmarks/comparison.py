"""What the benchmarks share: rounds in turns, and one table of medians beside what they are compared to."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: ours, what stands beside it, and what was wanted; `met` is None where nothing was."""

    what: str
    ours: str
    beside: str = ""
    ratio: float | None = None
    wanted: str = ""
    met: bool | None = None


def in_turns(rounds: int, works: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """The figures of `rounds` rounds; in each, everything is done once, so that all meet the same machine."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            found[name].append(work())
    return found


def median(rounds: Sequence[float], digits: int = 0) -> str:
    """A median with the least and the greatest of its rounds."""
    middle, least, most = (
        f"{value:,.{digits}f}" for value in (statistics.median(rounds), min(rounds), max(rounds))
    )
    return middle if len(rounds) == 1 else f"{middle} ({least} to {most})"


def speed(
    what: str, ours: Sequence[float], theirs: Sequence[float], beside: str, least: float | None = None
) -> Row:
    """Speeds of rounds compared by their medians; `least` is the ratio that is wanted."""
    ratio = statistics.median(ours) / statistics.median(theirs)
    wanted, met = ("", None) if least is None else (f"ratio >= {least:g}", ratio >= least)
    return Row(what, median(ours), f"{median(theirs)}: {beside}", ratio, wanted, met)


def show(rows: Sequence[Row]) -> int:
    """Print the rows as a table.

    Returns an exit code: 1 if one of them missed what was wanted, else 0.
    """
    table = [("what", "ours", "beside", "ratio", "wanted", "met")]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        met = "" if row.met is None else "yes" if row.met else "NO"
        table.append((row.what, row.ours, row.beside, ratio, row.wanted, met))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    return int(any(row.met is False for row in rows))
