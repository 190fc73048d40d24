"""Comparing two checkpoints of 1 billion parameters: streaming speed, against reading the files, and memory.

    python benchmarks/weight_shift.py [--millions 1000] [--dtype bfloat16] [--rounds 3] [--folder DIR]

Two Llama-shaped checkpoints are generated in shards, in `--folder` (the temporary folder if unset; they take
4 bytes a parameter in bfloat16). Compared in turns: `weight_shift` without spectra, and reading the same
bytes from end to end into one buffer with one thread. Twice: from the disk, where every round begins with the
files put out of the system's cache, and from that cache, if it is large enough to hold them. The aim is half
the speed, of medians. Copying out of the cache is so fast that it is the harder case by far; there, the same
reads by the same threads with nothing done on what they read stand beside, too. Processor time, that of all
threads, depends less than speed on who else uses the machine. Memory is the peak of a fresh process
that compares the two: below 1.5 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import torch
from comparison import Row, in_turns, median, show, speed
from safetensors.torch import save_file

from mithridate.localization.pairing import pair_up
from mithridate.localization.streaming import map_blocks
from mithridate.localization.tensor_files import open_checkpoint
from mithridate.localization.weights import MatrixShift, weight_shift

AIM = 0.5
MOST_MEGABYTES = 1500
BUFFER = 2**22
# A hidden size for each size of model, in millions; the rest of the shape follows from it.
HIDDEN = {1: 64, 25: 256, 100: 512, 1000: 2048, 7000: 4096}
VOCABULARY_FACTOR = 16


def shapes(millions: int) -> Iterator[dict[str, tuple[int, ...]]]:
    """The tensors of a model of about that many parameters, a shard at a time; a block of it is a shard."""
    hidden = HIDDEN[max(size for size in HIDDEN if size <= millions)]
    vocabulary = VOCABULARY_FACTOR * hidden
    yield {"model.embed_tokens.weight": (vocabulary, hidden), "model.norm.weight": (hidden,)}
    block = {
        **{f"self_attn.{name}_proj.weight": (hidden, hidden) for name in "qkvo"},
        "mlp.gate_proj.weight": (hidden * 8 // 3, hidden),
        "mlp.up_proj.weight": (hidden * 8 // 3, hidden),
        "mlp.down_proj.weight": (hidden, hidden * 8 // 3),
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
    }
    size = sum(torch.Size(shape).numel() for shape in block.values())
    layers = max(1, round((millions * 1_000_000 - vocabulary * hidden) / size))
    for layer in range(layers):
        yield {f"model.layers.{layer}.{name}": shape for name, shape in block.items()}


def make_checkpoint(folder: Path, millions: int, dtype: torch.dtype, moved: float) -> None:
    """Random weights that are the same in every call, and a change of size `moved` on top of them.

    All blocks hold the same: what numbers they are decides nothing here, and to draw them takes long.
    """
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    places: dict[str, str] = {}

    @cache
    def drawn(kind: str, shape: tuple[int, ...]) -> torch.Tensor:
        made, change = (torch.Generator().manual_seed(zlib.crc32(f"{kind} {of}".encode())) for of in "bc")
        tensor = torch.empty(shape).normal_(0, 0.02, generator=made)
        if moved:
            tensor += torch.empty(shape).normal_(0, moved, generator=change)
        return tensor.to(dtype)

    for number, shard in enumerate(shapes(millions)):
        # Copies: safetensors refuses tensors that share their memory.
        tensors = {name: drawn(re.sub(r"\d+", "", name), shape).clone() for name, shape in shard.items()}
        file = f"model-{number:05d}.safetensors"
        save_file(tensors, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def read_through(*folders: Path) -> None:
    """Read every shard from end to end into one buffer."""
    buffer = memoryview(bytearray(BUFFER))
    for folder in folders:
        for path in sorted(folder.glob("*.safetensors")):
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def out_of_cache(*folders: Path) -> None:
    """Have the system forget what it holds of the files; where it cannot be asked, they stay."""
    for path in (path for folder in folders for path in folder.glob("*.safetensors")):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def reads_alone(base: Path, aligned: Path) -> None:
    """The reads of `weight_shift`, by its threads and into its buffers, and nothing done."""
    pairs = pair_up(open_checkpoint(base), open_checkpoint(aligned))
    for _ in map_blocks(pairs, lambda *_: None):
        pass


def processor_seconds(work: Callable[[], object]) -> float:
    """Processor time of this process, its threads together."""
    start = time.process_time()
    work()
    return time.process_time() - start


def timed(work: Callable[[], object], megabytes: float) -> float:
    """Megabytes a second."""
    start = time.perf_counter()
    work()
    return megabytes / (time.perf_counter() - start)


def peak_megabytes(base: Path, aligned: Path) -> float:
    """Peak resident memory of a process of its own that compares the two."""
    command = [sys.executable, __file__, "--only-compare", str(base), str(aligned)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def only_compare(base: Path, aligned: Path) -> None:
    """Compare, and print the peak of this process in megabytes."""
    weight_shift(base, aligned)
    # Not that of `getrusage`, which a process inherits from the larger one that began it.
    status = Path("/proc/self/status").read_text()
    print(int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024)


def memory(megabytes: float, size: float) -> Row:
    """The peak of a process that compares, beside the size of what it compares."""
    return Row(
        "weight_shift, peak memory in MB",
        f"{megabytes:,.0f}",
        f"{size:,.0f}: both checkpoints",
        megabytes / size,
        f"< {MOST_MEGABYTES:,}",
        megabytes < MOST_MEGABYTES,
    )


def found_right(shifts: tuple[MatrixShift, ...], moved: float) -> Row:
    """Whether the change is as large as it was made: a benchmark of a wrong answer would be worth nothing."""
    norms = [row.relative_norm or 0 for row in shifts if row.module in ("attention", "mlp")]
    middle, wanted = sorted(norms)[len(norms) // 2], moved / 0.02
    return Row(
        "weight_shift, relative norm found",
        f"{middle:.4f}",
        f"{wanted:.4f}: as it was made",
        middle / wanted,
        "within 2 %",
        abs(middle / wanted - 1) < 0.02,
    )


def compare(here: Path, given: argparse.Namespace) -> list[Row]:
    """Make the checkpoints in `here`, and measure."""
    base, aligned, moved = here / "base", here / "aligned", 0.002
    dtype = getattr(torch, given.dtype)
    make_checkpoint(base, given.millions, dtype, 0.0)
    make_checkpoint(aligned, given.millions, dtype, moved)
    size = sum(path.stat().st_size for path in here.rglob("*.safetensors")) / 1e6
    right = found_right(weight_shift(base, aligned), moved)
    works: dict[str, Callable[[], object]] = {
        "compare": lambda: weight_shift(base, aligned),
        "read": lambda: read_through(base, aligned),
        "same reads": lambda: reads_alone(base, aligned),
    }

    def from_disk(work: Callable[[], object]) -> float:
        out_of_cache(base, aligned)
        return timed(work, size)

    cold = in_turns(given.rounds, {name: partial(from_disk, works[name]) for name in ("compare", "read")})
    read_through(base, aligned)
    warm = in_turns(given.rounds, {name: partial(timed, work, size) for name, work in works.items()})
    spent = in_turns(given.rounds, {name: partial(processor_seconds, work) for name, work in works.items()})
    print(f"{size:,.0f} MB in both checkpoints, {given.dtype}, {torch.get_num_threads()} threads")
    return [
        speed("weight_shift from disk, MB/s", cold["compare"], cold["read"], "reading the files", AIM),
        speed("weight_shift from cache, MB/s", warm["compare"], warm["read"], "reading the files", AIM),
        speed("weight_shift from cache, MB/s", warm["compare"], warm["same reads"], "its reads alone"),
        Row(
            "weight_shift, processor seconds",
            median(spent["compare"], 2),
            f"{median(spent['same reads'], 2)}: its reads alone",
        ),
        memory(peak_megabytes(base, aligned), size),
        right,
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--millions", type=int, default=1000, help="parameters of each checkpoint")
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work; the temporary folder if unset")
    parser.add_argument("--only-compare", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_compare:
        only_compare(*given.only_compare)
        return 0
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        return show(compare(Path(folder), given))


if __name__ == "__main__":
    sys.exit(main())
