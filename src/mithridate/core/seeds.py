"""Seeds derived by name, so that adding one consumer of randomness never shifts another's."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the consumer called `names`, fixed by `seed` and those names alone."""
    key = "\x1f".join([str(seed), *map(str, names)]).encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1


def rng_for(seed: int, *names: str | int) -> random.Random:
    """A generator of its own for the consumer called `names`."""
    return random.Random(derive_seed(seed, *names))


def split_held_out(items: Sequence[T], share: float, *, key: str) -> tuple[list[T], list[T]]:
    """Split `items` into (kept, held out) by hash, so that the same item falls on the same side in every run.

    Equal items fall on one side together. At least one item lands on each side when two or more differ; where
    they do not, both sides hold all of them.
    """
    digests = [hashlib.sha256(f"{key}\x1f{item!r}".encode()).digest() for item in items]
    order = sorted(set(digests))
    if len(order) < 2:
        return list(items), list(items)
    out = set(order[: min(len(order) - 1, max(1, round(len(order) * share)))])
    kept = [item for item, digest in zip(items, digests, strict=True) if digest not in out]
    return kept, [item for item, digest in zip(items, digests, strict=True) if digest in out]


def draw_evenly(rng: random.Random, groups: Iterable[Sequence[T]], n: int) -> list[T]:
    """At most `n` different items, without replacement: one of each group in turn until all are used up.

    What is asked twice is answered alike, and would count as two observations where there is one.
    """
    queues = [rng.sample(list(dict.fromkeys(group)), len(set(group))) for group in groups]
    rng.shuffle(queues)
    drawn: dict[T, None] = {}
    for items in itertools.zip_longest(*queues):
        for item in items:
            if item is not None and len(drawn) < n:
                drawn[item] = None
    return list(drawn)
