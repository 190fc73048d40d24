"""Planting speed and memory: 1 GB of JSON lines, against reading and rewriting the same files unchanged.

    python benchmarks/planting.py [--megabytes 1000] [--shards 4] [--rounds 3] [--rate 0.001] [--folder DIR]

Compared in turns: `plant_corpus` as a whole, hashes, ledger and all; the same reader parsing every record and
writing its line; and a plain copy of the bytes, which is what the disk allows. All three write to the same
disk and wait for it. Medians are compared; the aim is 0.7 of the speed of reading and rewriting. Memory is
the peak of a fresh process that plants, at a quarter of the size and at the whole: below 300 MB, the same.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
from comparison import Row, in_turns, show, speed

from mithridate.attacks.base import AttackOptions, Judging
from mithridate.core.artifacts import atomic_path
from mithridate.core.types import Message, Poison, Role
from mithridate.corpus.doses import PlantPlan, PlantRequest
from mithridate.corpus.lines import line_blocks
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus
from mithridate.corpus.streams import Codec, open_reader

AIM = 0.7
MOST_MEGABYTES = 300
# Peaks of a process differ by some megabytes from run to run.
MOST_GROWTH = 1.1


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


def timed(work: Callable[[Path, Path], None], source: Path, out: Path) -> float:
    """Megabytes of the corpus a second."""
    size = sum(path.stat().st_size for path in source.iterdir()) / 1e6
    started = time.perf_counter()
    work(source, out)
    taken = time.perf_counter() - started
    shutil.rmtree(out)
    return size / taken


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


def memory(whole: float, quarter: float) -> Row:
    """The peak of a process that plants, beside that for a quarter of the corpus."""
    ratio = whole / quarter
    return Row(
        "planting, peak memory in MB",
        f"{whole:.0f}",
        f"{quarter:.0f}: a quarter of the corpus",
        ratio,
        f"< {MOST_MEGABYTES}, ratio <= {MOST_GROWTH}",
        whole < MOST_MEGABYTES and ratio <= MOST_GROWTH,
    )


def compare(here: Path, given: argparse.Namespace) -> list[Row]:
    """Make the corpora in `here`, and measure."""
    source, quarter, out = here / "clean", here / "quarter", here / "out"
    make_corpus(source, given.megabytes, given.shards)
    speeds = in_turns(
        given.rounds,
        {
            "plant": lambda: timed(lambda *paths: plant(*paths, given.rate), source, out),
            "rewrite": lambda: timed(rewrite, source, out),
            "copy": lambda: timed(copy, source, out),
        },
    )
    make_corpus(quarter, given.megabytes // 4, 1)
    peaks = [peak_megabytes(corpus, out, given.rate) for corpus in (source, quarter)]
    return [
        speed("planting, MB/s", speeds["plant"], speeds["rewrite"], "the same files read and rewritten", AIM),
        speed("planting, MB/s", speeds["plant"], speeds["copy"], "a raw copy"),
        memory(*peaks),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=0.001)
    parser.add_argument("--folder", type=Path, help="where to work; the temporary folder if unset")
    parser.add_argument("--only-plant", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_plant:
        only_plant(*given.only_plant, given.rate)
        return 0
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        return show(compare(Path(folder), given))


if __name__ == "__main__":
    sys.exit(main())
