"""What it takes to locate the attacks of a finished run.

    python benchmarks/localization.py --run runs/default [--rounds 3]

Each round looks into the models anew, in a copy of the run that shares its files; the median stands beside
what is allowed for the default study on two cores. Without --run, a default study is run first.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from comparison import Row, median, show

MINUTES = 6.0
# Where a run keeps what was located before; it is not copied, so that it has to be found again.
FOUND = ("located", "localization.parquet")


def fresh_copy(run: Path, out: Path) -> Path:
    """The run as it was before anything was located in it."""
    return Path(shutil.copytree(run, out, copy_function=_link, ignore=shutil.ignore_patterns(*FOUND)))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def timed(run: Path) -> float:
    """Minutes that localisation takes."""
    started = time.monotonic()
    mithridate("locate", str(run))
    return (time.monotonic() - started) / 60


def mithridate(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "mithridate", *words], check=True, stdout=subprocess.DEVNULL)


def duration(minutes: list[float]) -> Row:
    """How long it took, beside what it may take."""
    ratio = statistics.median(minutes) / MINUTES
    beside = f"{MINUTES:g}: allowed"
    return Row("localisation, minutes", median(minutes, 1), beside, ratio, "ratio <= 1", ratio <= 1)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="a finished run directory [a default study, run first]")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = given.run or Path(folder) / "run"
        if given.run is None:
            mithridate("run", "--out", str(run))
        copies = [fresh_copy(run, Path(folder) / f"round{number}") for number in range(given.rounds)]
        return show([duration([timed(copy) for copy in copies])])


if __name__ == "__main__":
    sys.exit(main())
