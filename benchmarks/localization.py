"""What it takes to locate the attacks of a finished run.

    python benchmarks/localization.py --run runs/default [--rounds 3]

Each round looks into the models anew, in a copy of the run that shares its files; the median stands beside
what is allowed for the default study on two cores. Without --run, a default study is run first.
"""

from __future__ import annotations

import sys

from finished_run import benchmark

MINUTES = 6.0
# Where a run keeps what was located before; it is not copied, so that it has to be found again.
FOUND = ("located", "localization.parquet")

if __name__ == "__main__":
    sys.exit(benchmark(__doc__, "locate", "localisation", MINUTES, FOUND))
