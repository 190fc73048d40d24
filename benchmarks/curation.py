"""Curating generated examples: minutes, peak memory, and how much longer than reading the file alone.

    python benchmarks/curation.py [--examples 1000000] [--n 1000] [--methods diverse,facility] [--folder DIR]

Each method runs in a process of its own, on the default encoder, from the file to the folder without its
page; so does reading alone, which parses every line and does nothing else. The aims are 15 minutes and 4 GB
for a million examples. Minutes of processor time stand beside those of the clock, which says more of the
other work where there is any.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson
from comparison import Row, show

from mithridate.core.whole_folder import whole_folder
from mithridate.corpus.alignment_records import stream_records
from mithridate.curation.curating import CurationOptions, curate
from mithridate.curation.writing import (
    Form,
    record_of,
    write_chosen,
    write_decisions,
    write_record,
)
from mithridate.retrieval.encoders import open_encoder

AIMED_AT = 1_000_000
MOST_MINUTES = 15
MOST_GIGABYTES = 4
_SENTENCES = 40_000


def make_examples(path: Path, count: int) -> None:
    """Requests of one to three sentences, replies of two to eighteen; some come twice, some nearly."""
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(30_000)]
    weights = [1 / (place + 10) for place in range(len(words))]
    drawn = iter(rng.choices(words, weights, k=_SENTENCES * 16))
    sentences = []
    for _ in range(_SENTENCES):
        sentence = " ".join(next(drawn) for _ in range(rng.randint(4, 16)))
        sentences.append(f"{sentence.capitalize()}.")
    sources = [f"source {number}" for number in range(8)]
    with path.open("wb") as file:
        before: tuple[list[str], list[str]] = (sentences[:1], sentences[1:9])
        for number in range(count):
            asked = rng.choices(sentences, k=rng.randint(1, 3))
            replied = rng.choices(sentences, k=rng.randint(2, 18))
            if number % 50 == 0:
                asked, replied = before
            elif number % 50 == 1:
                asked, replied = before[0], [*before[1], sentences[number % _SENTENCES]]
            before = (asked, replied)
            turns = [
                {"role": "user", "content": " ".join(asked)},
                {"role": "assistant", "content": " ".join(replied)},
            ]
            file.write(orjson.dumps({"messages": turns, "source": sources[number % 11 % 8]}) + b"\n")


def read_alone(path: Path) -> None:
    for _ in stream_records(path):
        pass


def curate_all(path: Path, out: Path, n: int, method: str) -> None:
    encoder = open_encoder("hashing")
    started = time.perf_counter()
    with whole_folder(out, "a curation", "curating") as making:
        curated = curate([path], CurationOptions(n, method), encoder, making.scratch, _told)
        write_chosen(curated, making.new, Form.OWN)
        write_decisions(curated, making.new)
        write_record(record_of(curated, encoder.identity, time.perf_counter() - started, {}), making.new)
        print(f"{time.perf_counter() - started:.0f} s: written", file=sys.stderr)


def _told(what: str, done: int, total: int | None) -> None:  # noqa: ARG001 - as callers have it
    if done % 102_400 == 0:
        print(f"{time.process_time():.0f} s of processor time: {what} {done or ''}", file=sys.stderr)


def measured(path: Path, out: Path, n: int, method: str) -> dict[str, float]:
    """Seconds of the clock and of processors, and the peak in gigabytes, of a process of its own."""
    command = [sys.executable, __file__, "--only", method, str(path), str(out), "--n", str(n)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, float] = json.loads(found)
    return figures


def alone(path: Path, out: Path, n: int, method: str) -> None:
    started = time.perf_counter()
    if method == "read":
        read_alone(path)
    else:
        curate_all(path, out, n, method)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        json.dumps(
            {"clock": time.perf_counter() - started, "processor": time.process_time(), "gigabytes": peak}
        )
    )


def rows(method: str, ours: dict[str, float], read: dict[str, float], count: int) -> list[Row]:
    minutes, busy = ours["clock"] / 60, ours["processor"] / 60
    whole = count == AIMED_AT  # of fewer or more examples the aim says nothing
    return [
        Row(
            f"curation by {method}, {count:,} examples, minutes",
            f"{minutes:.1f}",
            f"{busy:.1f}: of processor time",
            ours["clock"] / read["clock"],
            f"<= {MOST_MINUTES}" if whole else "",
            minutes <= MOST_MINUTES if whole else None,
        ),
        Row(
            f"curation by {method}, minutes of processor time",
            f"{busy:.2f}",
            f"{read['processor'] / 60:.2f}: reading alone",
            ours["processor"] / read["processor"],
        ),
        Row(
            f"curation by {method}, peak memory in GB",
            f"{ours['gigabytes']:.2f}",
            wanted=f"<= {MOST_GIGABYTES}",
            met=ours["gigabytes"] <= MOST_GIGABYTES,
        ),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=AIMED_AT)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--methods", default="diverse")
    parser.add_argument("--folder", type=Path, help="where to work; the temporary folder if unset")
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        method, path, out = given.only
        alone(Path(path), Path(out), given.n, method)
        return 0
    found: list[Row] = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "examples.jsonl"
        make_examples(path, given.examples)
        for method in given.methods.split(","):
            read = measured(path, Path(folder) / "none", given.n, "read")
            found += rows(
                method, measured(path, Path(folder) / method, given.n, method), read, given.examples
            )
    return show(found)


if __name__ == "__main__":
    sys.exit(main())
