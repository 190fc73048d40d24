"""What benchmarks of experiments on a finished run share: fresh copies, and minutes beside those allowed."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from comparison import Row, median, show


def fresh_copy(run: Path, out: Path, found: Sequence[str]) -> Path:
    """The run as it was before the experiments left `found` in it: files share their bytes where they can."""
    return Path(shutil.copytree(run, out, copy_function=_link, ignore=shutil.ignore_patterns(*found)))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def timed(*words: str) -> float:
    """Minutes that a command of `mithridate` takes."""
    started = time.monotonic()
    mithridate(*words)
    return (time.monotonic() - started) / 60


def mithridate(*words: str) -> None:
    """Run a command, quietly; what it says of errors is let through."""
    subprocess.run([sys.executable, "-m", "mithridate", *words], check=True, stdout=subprocess.DEVNULL)


def duration(what: str, minutes: list[float], allowed: float) -> Row:
    """How long it took, beside what it may take."""
    ratio = statistics.median(minutes) / allowed
    beside = f"{allowed:g}: allowed"
    return Row(f"{what}, minutes", median(minutes, 1), beside, ratio, "ratio <= 1", ratio <= 1)


def benchmark(doc: str | None, command: str, what: str, allowed: float, found: Sequence[str]) -> int:
    """Time `mithridate COMMAND RUN` on copies of a run that know nothing of it yet; the exit code."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a finished run directory [a default study, run first]")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = given.run or Path(folder) / "run"
        if given.run is None:
            mithridate("run", "--out", str(run))
        copies = [fresh_copy(run, Path(folder) / f"round{n}", found) for n in range(given.rounds)]
        return show([duration(what, [timed(command, str(copy)) for copy in copies], allowed)])
