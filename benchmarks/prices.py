"""What it takes to price every cure on the models of a finished run.

    python benchmarks/prices.py --run runs/default [--rounds 1]

Each round begins anew, small models for proxy-tuning included, in a copy of the run that shares its files;
the median stands beside what is allowed for the default study on two cores. Without --run, a default study is
run first.
"""

from __future__ import annotations

import sys

from finished_run import benchmark

MINUTES = 10.0
# Where a run keeps what was priced before.
FOUND = ("prices", "prices.parquet", "proxies.parquet", "small-models")

if __name__ == "__main__":
    sys.exit(benchmark(__doc__, "price", "price list", MINUTES, FOUND))
