"""RAGPart's price in time and memory beside plain exact search, on random vectors.

    python benchmarks/retrieval_speed.py [--rows 100000] [--dimension 384] [--rounds 30]

Both search the same number of documents in memory, one query at a time and in turns; medians are compared.
The goals: a query of RAGPart (5, 3) takes at most 6 times as long, and its vectors at most 5.2 times as much
memory.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mithridate.retrieval.base import Retriever, Vectors
from mithridate.retrieval.controls import Plain
from mithridate.retrieval.fragments import combination_norms
from mithridate.retrieval.ragpart import RAGPart

TIME_GOAL, MEMORY_GOAL = 6.0, 5.2
TOP = 10


@dataclass
class Index:
    """The vectors of an index in memory; what a layout does not ask for has no columns."""

    whole: Vectors
    fragments: Vectors
    norms: Vectors
    concatenations: Vectors
    alive: NDArray[np.bool_]

    def bytes(self) -> int:
        return sum(part.nbytes for part in (self.whole, self.fragments, self.norms, self.concatenations))


def random_units(rng: np.random.Generator, shape: tuple[int, ...]) -> Vectors:
    rows = rng.standard_normal(shape, dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows


def seconds(retriever: Retriever, index: Index, query: Vectors) -> float:
    started = time.perf_counter()
    found = retriever.retrieve(index, query, TOP)
    taken = time.perf_counter() - started
    assert len(found) == TOP
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    rows, dimension, defense = given.rows, given.dimension, RAGPart()
    alive = np.ones(rows, bool)
    none, nothing = np.zeros((rows, 0), np.float32), np.zeros((rows, 0, dimension), np.float32)
    plain_index = Index(random_units(rng, (rows, dimension)), nothing, none, nothing, alive)
    vectors = random_units(rng, (rows, defense.fragments, dimension))
    index = Index(none, vectors, combination_norms(vectors, defense.combination), nothing, alive)
    plain, defended = [], []
    for _ in range(given.rounds):
        query = random_units(rng, (dimension,))
        plain.append(seconds(Plain(), plain_index, query))
        defended.append(seconds(defense, index, query))
    before, after = statistics.median(plain), statistics.median(defended)
    print(f"{rows} documents, {dimension} dimensions, {given.rounds} queries of one, top {TOP}; medians")
    print(f"plain search    {before * 1000:8.2f} ms {plain_index.bytes() / 2**20:8.1f} MiB")
    print(f"RAGPart (5, 3)  {after * 1000:8.2f} ms {index.bytes() / 2**20:8.1f} MiB")
    show("time", after / before, TIME_GOAL)
    show("memory", index.bytes() / plain_index.bytes(), MEMORY_GOAL)


def show(what: str, ratio: float, goal: float) -> None:
    print(f"{what:6} {ratio:5.2f} times plain, allowed {goal}: {'yes' if ratio <= goal else 'NO'}")


if __name__ == "__main__":
    main()
