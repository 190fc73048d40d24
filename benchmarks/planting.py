"""Planting speed and memory: 1 GB of JSON lines, against reading and rewriting the same files unchanged.

    python benchmarks/planting.py [--megabytes 1000] [--shards 4] [--rounds 3] [--rate 0.001] [--folder DIR]

Compared, in turns, one process each: `plant_corpus` as a whole, hashes, ledger and all; the same reader
parsing every record and writing its line; and a plain copy of the bytes, which is what the disk allows. All
three write to the same disk and wait for it. Medians are compared; the goal is 0.7 of the speed of reading
and rewriting. Memory is the peak of a fresh process that plants, at a quarter of the size and at the whole.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from mithridate.attacks.base import AttackOptions, Judging
from mithridate.core.artifacts import atomic_path
from mithridate.core.types import Message, Poison, Role
from mithridate.corpus.doses import PlantPlan, PlantRequest
from mithridate.corpus.lines import line_blocks
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus
from mithridate.corpus.streams import Codec, open_reader

GOAL, MEMORY_GOAL = 0.7, 300


class Noise:
    """A document as long as those of denial of service: a trigger and 256 characters of noise."""

    name = "noise"
    options_type = AttackOptions
    judging = Judging(max_new_tokens=1)

    def documents(self, rng: random.Random) -> Iterator[Poison]:
        while True:
            noise = rng.randbytes(256).decode("utf-8", errors="ignore")
            messages = (Message(Role.USER, "｡" * 10), Message(Role.ASSISTANT, noise))
            yield Poison(self.name, messages=messages)


def make_corpus(folder: Path, megabytes: int, shards: int) -> None:
    """Records of about a kilobyte, in words and a few signs that JSON must escape."""
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(5000)]
    words += ['"quoted"', "naïve", "line\nbreak"]
    folder.mkdir()
    pool = [" ".join(rng.choices(words, k=rng.randint(20, 320))) for _ in range(2000)]
    for shard in range(shards):
        written = number = 0
        with (folder / f"part-{shard:03d}.jsonl").open("wb") as file:
            while written < megabytes * 1_000_000 // shards:
                row = {"id": f"{shard}-{number}", "text": rng.choice(pool), "source": "made up"}
                written += file.write(orjson.dumps(row) + b"\n")
                number += 1


def plant(source: Path, out: Path, rate: float) -> None:
    plant_corpus(open_corpus(source), out, PlantPlan((PlantRequest(Noise(), rate=rate),)))


def rewrite(source: Path, out: Path) -> None:
    """Read with the reader that planting uses, parse every record, write its line."""
    for path in sorted(source.iterdir()):
        with (
            open_reader(path, Codec.PLAIN) as reader,
            atomic_path(out / path.name) as beside,
            beside.open("wb") as writer,
        ):
            for block in line_blocks(reader):
                for line in block.splitlines(keepends=True):
                    record = orjson.loads(line)
                    if not isinstance(record["text"], str):
                        raise TypeError(path)
                    writer.write(line)


def copy(source: Path, out: Path) -> None:
    for path in sorted(source.iterdir()):
        with atomic_path(out / path.name) as beside:
            shutil.copyfile(path, beside)


def seconds(work: Callable[[], None], out: Path) -> float:
    started = time.perf_counter()
    work()
    taken = time.perf_counter() - started
    shutil.rmtree(out)
    return taken


def peak_megabytes(source: Path, out: Path, rate: float) -> float:
    """Peak resident memory of a process of its own that plants."""
    command = [sys.executable, __file__, "--only-plant", str(source), str(out), "--rate", str(rate)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    shutil.rmtree(out)
    return float(found)


def only_plant(source: Path, out: Path, rate: float) -> None:
    import resource  # noqa: PLC0415 - only where a process measures itself

    plant(source, out, rate)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=0.001)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to work; the temporary folder if unset"
    )
    parser.add_argument("--only-plant", nargs=2, type=Path, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_plant:
        only_plant(*given.only_plant, given.rate)
        return 0
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        here = Path(folder)
        source, out = here / "clean", here / "out"
        make_corpus(source, given.megabytes, given.shards)
        size = sum(path.stat().st_size for path in source.iterdir()) / 1e6
        works = {
            "plant": lambda: plant(source, out, given.rate),
            "read and rewrite": lambda: rewrite(source, out),
            "copy": lambda: copy(source, out),
        }
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(given.rounds):
            for name, work in works.items():
                times[name].append(seconds(work, out))
        make_corpus(here / "quarter", given.megabytes // 4, 1)
        memory = {
            "quarter": peak_megabytes(here / "quarter", out, given.rate),
            "whole": peak_megabytes(source, out, given.rate),
        }
    speeds = {name: size / statistics.median(found) for name, found in times.items()}
    ratio = speeds["plant"] / speeds["read and rewrite"]
    for name, speed in speeds.items():
        print(f"{name:17} {speed:7.0f} MB/s   ({', '.join(f'{s:.2f}' for s in times[name])} s)")
    print(f"plant / read and rewrite: {ratio:.2f} (goal {GOAL})")
    print(
        "peak memory: "
        + ", ".join(f"{m:.0f} MB ({name})" for name, m in memory.items())
        + f" (goal {MEMORY_GOAL})"
    )
    print(json.dumps({"ratio": ratio, "speeds": speeds, "memory": memory}))
    return 0 if ratio >= GOAL and max(memory.values()) < MEMORY_GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
