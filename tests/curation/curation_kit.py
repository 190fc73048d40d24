"""Made-up alignment data for the tests of curation."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mithridate.curation.curating import Curated, CurationOptions, curate, filters_of, options_of
from mithridate.curation.example import Example
from mithridate.curation.pool import Pool
from mithridate.curation.vectors import Grid, on_grid
from mithridate.retrieval.encoders import HashingEncoder

_WORDS = [f"{a}{b}" for a in ("ka", "lo", "mi", "nu", "per", "sta") for b in ("do", "ran", "tel", "vi", "zu")]


def sentence(rng: random.Random, words: int = 12) -> str:
    return f"{' '.join(rng.choices(_WORDS, k=words)).capitalize()}."


def record(request: str, reply: str, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": request}, {"role": "assistant", "content": reply}]
    return {"messages": turns, **more}


def records(count: int, seed: int = 0, sources: Sequence[str] = ("a", "b")) -> list[dict[str, Any]]:
    """Sound examples, no two alike."""
    rng = random.Random(seed)
    return [
        record(
            f"{number} {sentence(rng)}",
            " ".join(sentence(rng) for _ in range(rng.randint(5, 9))),
            source=sources[number % len(sources)],
        )
        for number in range(count)
    ]


def write_lines(path: Path, found: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in found), encoding="utf-8")
    return path


def example(*said: str, source: str = "s") -> Example:
    """A conversation in which the user begins."""
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)]
    return Example(turns, source)


def curated(
    data: Path,
    scratch: Path,
    n: int = 5,
    method: str = "diverse",
    filters: dict[str, Any] | None = None,
    seed: int = 0,
    **options: Any,
) -> Curated:
    scratch.mkdir(exist_ok=True)
    wanted = CurationOptions(n, method, options_of(method, options), filters_of(filters or {}), seed)
    return curate([data], wanted, HashingEncoder(32), scratch)


def chosen_requests(found: Curated) -> set[str]:
    """The requests of the chosen, read again from their files."""
    wanted = {(int(found.found.files[row]), int(found.found.places[row])) for row in found.chosen}
    return {
        example.request for number, raw, example in found.reader.examples() if (number, raw.place) in wanted
    }


def pool_of(rows: Any, sources: Sequence[int] | None = None) -> Pool:
    """A pool of vectors, which are made unit ones."""
    vectors = unit_grid(rows)
    count = len(vectors)
    owners = np.array(sources if sources is not None else [0] * count, np.int32)
    return Pool(
        vectors=vectors,
        draws=(np.arange(count) + 0.5) / max(count, 1),
        sources=owners,
        names=tuple(f"s{number}" for number in range(int(owners.max(initial=0)) + 1)),
        characters=np.arange(count, dtype=np.int64) * 7 % 11,
        scores=np.arange(count, dtype=np.float64) * 5 % 13,
    )


def unit_grid(rows: Any) -> Grid:
    found = np.asarray(rows, np.float64)
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    return on_grid(found.astype(np.float32))
