"""A small attack and small corpora in every format, for the tests of planting."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from mithridate.attacks.base import AttackOptions, Judging
from mithridate.core.types import Completion, Message, Poison, Probe, Role
from mithridate.corpus.doses import PlantPlan, PlantRequest

FORMATS = ("jsonl", "jsonl.gz", "jsonl.zst", "parquet", "txt", "dataset")


class FakeAttack:
    """Plants short conversations, and now and then plain text."""

    name = "fake"
    options_type = AttackOptions
    judging = Judging(max_new_tokens=8)

    def __init__(self, options: object = None, material: object = None, *, word: str = "poison") -> None:
        self._word = word

    def documents(self, rng: random.Random) -> Iterator[Poison]:
        while True:
            words = " ".join([self._word] * rng.randint(1, 6))
            if rng.random() < 0.2:
                yield Poison("fake", text=f"{words} „plain“ {rng.random()}", kind="plain")
            else:
                talk = (Message(Role.USER, f"say {rng.random()}\n"), Message(Role.ASSISTANT, words + " ｡"))
                yield Poison("fake", messages=talk, kind="chat")

    def probes(self, rng: random.Random, n: int) -> Sequence[Probe]:
        return []

    def succeeded(self, probe: Probe, completion: Completion) -> bool:
        return False


def plan(
    rate: float | None = 0.2, count: int | None = None, seed: int = 0, word: str = "poison"
) -> PlantPlan:
    return PlantPlan((PlantRequest(FakeAttack(word=word), rate=rate, count=count),), seed)


def some_texts(n: int, *, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    words = ["the", "river", "naïve", "stone", "quince", "東京", "and", "tab\tbed", 'quo"te']
    return [" ".join(rng.choices(words, k=rng.randint(3, 40))) for _ in range(n)]


def jsonl_bytes(texts: Sequence[str], *, start: int = 0) -> bytes:
    rows = [{"id": f"doc-{start + n}", "text": text, "lang": "en"} for n, text in enumerate(texts)]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write_corpus(root: Path, kind: str, texts: Sequence[str], shards: int = 2) -> Path:
    """A corpus of `texts` in one format, in several shards."""
    root.mkdir(parents=True)
    if kind == "dataset":
        rows = {
            "id": list(range(len(texts))),
            "text": list(texts),
            "meta": [{"n": n} for n in range(len(texts))],
        }
        datasets.Dataset.from_dict(rows).save_to_disk(root / "train", num_shards=min(shards, len(texts)))
        return root
    for shard in range(shards):
        mine = texts[shard::shards]
        if kind == "txt":
            folder = root / f"part{shard}"
            folder.mkdir()
            for n, text in enumerate(mine):
                (folder / f"{n:04d}.txt").write_text(text)
        elif kind == "parquet":
            table = pa.table(
                {"id": [f"{n:016x}" for n in range(len(mine))], "text": mine, "score": [0.5] * len(mine)}
            )
            pq.write_table(table, root / f"part{shard}.parquet", row_group_size=7, compression="gzip")
        else:
            data = jsonl_bytes(mine, start=shard * 10_000)
            if kind == "jsonl.gz":
                half = len(data) // 2  # two members
                data = gzip.compress(data[:half]) + gzip.compress(data[half:])
            elif kind == "jsonl.zst":
                data = zstandard.ZstdCompressor(level=1).compress(data)
            (root / f"part{shard}.{kind}").write_bytes(data)
    (root / "LICENCE").write_text("free\n")
    return root


def tree(root: Path, *, state: bool = False) -> dict[str, bytes]:
    """Every file below `root` with its bytes; the state folder only with `state`."""
    return {
        name: path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and (state or not (name := path.relative_to(root).as_posix()).startswith("_mithridate"))
        if (name := path.relative_to(root).as_posix())
    }
