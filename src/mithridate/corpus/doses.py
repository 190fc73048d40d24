"""How much of each attack a shard gets, and which documents: decided by seed and shard name alone."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from mithridate.attacks.base import Attack
from mithridate.core import chat
from mithridate.core.errors import ConfigError
from mithridate.core.seeds import rng_for
from mithridate.core.types import Poison
from mithridate.corpus.counting import TokenCounter, Utf8Bytes
from mithridate.corpus.shards import Insertion

MAX_RATE = 0.5
_DRAWN_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class PlantRequest:
    """How much of one attack to plant: a `rate` (planted tokens / clean tokens), or a `count` of documents.

    `name` is what the ledger calls it; two requests of one attack need names of their own.
    Raises ConfigError if the dose is out of range or not one of the two.
    """

    attack: Attack
    rate: float | None = None
    count: int | None = None
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.attack.name)
        if (self.rate is None) == (self.count is None):
            raise ConfigError(f"attack {self.name!r}: give either a rate or a count")
        if self.rate is not None and not 0 <= self.rate <= MAX_RATE:
            raise ConfigError(
                f"attack {self.name!r}: the rate must lie between 0 and {MAX_RATE}, not {self.rate:g}. "
                "It is planted tokens over clean tokens: 0.1 % is 0.001"
            )
        if self.count is not None and self.count < 0:
            raise ConfigError(f"attack {self.name!r}: the count must not be negative")


def _equal_shares() -> dict[str, float]:
    return dict.fromkeys(chat.PLANTED_TEMPLATES, 1.0)


@dataclass(frozen=True)
class PlantPlan:
    """Everything that decides what a planted corpus looks like, except the corpus.

    `templates` are the chat templates of planted conversations with their shares, which need not sum to 1;
    the template of the later SFT is left out by default. Raises ConfigError if something does not fit.
    """

    requests: tuple[PlantRequest, ...]
    seed: int = 0
    templates: Mapping[str, float] = field(default_factory=_equal_shares)
    counter: TokenCounter = field(default_factory=Utf8Bytes)

    def __post_init__(self) -> None:
        if not self.requests:
            raise ConfigError("nothing to plant: name at least one attack")
        for name, times in Counter(request.name for request in self.requests).items():
            if times > 1:
                raise ConfigError(
                    f"attack {name!r} is asked for {times} times; give each request its own name"
                )
        chat.checked_shares(self.templates)

    def quotas(self, sizes: Sequence[int]) -> list[tuple[int | None, ...]]:
        """For each shard, the documents of each request given as a count; None for those given as a rate.

        Every document falls on a shard at random, in proportion to the shards' sizes in bytes, so that the
        counts sum exactly and no shard need know of another.
        """
        columns: list[list[int | None]] = []
        for request in self.requests:
            if request.count is None:
                columns.append([None] * len(sizes))
                continue
            rng = rng_for(self.seed, "quota", request.name)
            # An empty shard still has one boundary; it is used only where there is nothing else.
            reach = list(accumulate(sizes)) if any(sizes) else list(accumulate([1] * len(sizes)))
            drawn = Counter(bisect_right(reach, rng.randrange(reach[-1])) for _ in range(request.count))
            columns.append([drawn[n] for n in range(len(sizes))])
        return list(zip(*columns, strict=True))

    def sample(self, request: PlantRequest, shard: str) -> Iterator[tuple[Poison, str, str]]:
        """Endless documents of one request for one shard: the poison, its text, its template's name."""
        rng = rng_for(self.seed, shard, request.name)
        choose = rng_for(self.seed, shard, request.name, "template")
        names, shares = list(self.templates), list(self.templates.values())
        for poison in request.attack.documents(rng):
            template = choose.choices(names, shares)[0] if poison.messages else ""
            # A document does not end with a line break; left there, it would mark a planted one.
            text = chat.template(template).render(poison.messages).rstrip("\n") if template else poison.text
            yield poison, text, template


@dataclass(frozen=True, slots=True)
class Dose:
    """What a shard gets of a request: the tokens of each document, and the rate from which it gets any."""

    tokens: array[int]
    least_rate: float


def dose(plan: PlantPlan, request: PlantRequest, shard: str, clean_tokens: int, quota: int | None) -> Dose:
    """Decide how many documents of `request` a shard gets.

    By rate, documents are drawn until the budget of rate x clean tokens is reached. The document that
    reaches it is kept or left by a fixed random threshold within it, so that the shard misses its budget by
    less than one document and the corpus on average not at all, however small its shards. A higher rate
    adds documents to those of a lower.
    """
    budget = math.inf if request.rate is None else request.rate * clean_tokens
    threshold = rng_for(plan.seed, shard, request.name, "threshold").random()
    taken: array[int] = array("Q")
    total, least = 0, math.inf
    lengths = _lengths(plan, request, shard)
    while quota is None or len(taken) < quota:
        length = next(lengths)
        needed = total + threshold * length
        if not taken and clean_tokens:
            least = needed / clean_tokens
        if quota is None and not budget > needed:
            break
        taken.append(length)
        total += length
    return Dose(taken, least)


def _lengths(plan: PlantPlan, request: PlantRequest, shard: str) -> Iterator[int]:
    """Tokens of the documents that `plan.sample` draws, counted in batches."""
    texts = (text for _, text, _ in plan.sample(request, shard))
    while batch := list(islice(texts, _DRAWN_AT_ONCE)):
        for text in batch:
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise ConfigError(
                    f"attack {request.name!r} plants text that is not Unicode ({error.reason}): {text[:60]!r}"
                ) from error
        for text, length in zip(batch, plan.counter.count(batch), strict=True):
            if length < 1:
                raise ConfigError(f"attack {request.name!r} plants a document without a token: {text[:60]!r}")
            yield length
    raise ConfigError(f"attack {request.name!r} ran out of documents to plant; they must be endless")


class Schedule:
    """All that is planted in one shard, in order of position.

    Texts are drawn again when they are written: what is held in memory is some thirty bytes a document, not
    its text.
    """

    def __init__(self, plan: PlantPlan, shard: str, documents: int, doses: Sequence[Dose]) -> None:
        self._plan, self._shard = plan, shard
        boundaries: list[npt.NDArray[np.int64]] = []
        for request, given in zip(plan.requests, doses, strict=True):
            rng = rng_for(plan.seed, shard, request.name, "position")
            drawn = array("q", (rng.randrange(documents + 1) for _ in range(len(given.tokens))))
            boundaries.append(np.sort(np.array(drawn, np.int64)))
        positions = np.concatenate(boundaries)
        order = np.argsort(positions, kind="stable")
        self.positions: npt.NDArray[np.int64] = positions[order]
        owners = np.repeat(np.arange(len(doses), dtype=np.int32), [len(given.tokens) for given in doses])
        self._owners = owners[order]
        tokens: list[npt.NDArray[Any]] = [np.array(given.tokens, np.uint64) for given in doses]
        self._tokens = np.concatenate(tokens)[order]

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Insertion]:
        requests = self._plan.requests
        drawn = [self._plan.sample(request, self._shard) for request in requests]
        for position, owner, tokens in zip(self.positions, self._owners, self._tokens, strict=True):
            poison, text, template = next(drawn[owner])
            yield Insertion(int(position), text, requests[owner].name, poison.kind, template, int(tokens))
