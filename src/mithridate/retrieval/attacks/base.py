"""The protocol of attacks on retrieval, and how texts become planted documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np

from mithridate.core.errors import ConfigError
from mithridate.core.registry import Registry
from mithridate.core.seeds import derive_seed
from mithridate.core.types import Document
from mithridate.retrieval.base import Encoder
from mithridate.retrieval.building import build_plugin
from mithridate.retrieval.task import RetrievalTask

ATTACKS = Registry("mithridate.retrieval_attacks", "retrieval attack")

MOST_COPIES = 10
_SEED_BOUND = 2**63


@runtime_checkable
class RetrievalAttack(Protocol):
    """One way of planting documents that shall come up for a query. Attacks measure defences."""

    name: ClassVar[str]

    def poison(
        self,
        task: RetrievalTask,
        queries: Sequence[str],
        rng: np.random.Generator,
        *,
        copies: int,
        encoder: Encoder,
    ) -> list[Document]:
        """Documents to plant for `queries` (identifiers of the task's), up to `copies` of each, 1 to 10.

        A document is called `poison:<attack>:<query>:<copy>`, with copies counted from 0, and its `meta`
        holds `attack`, `query` and `copy`. A query that the attack has too few texts for gets fewer, or none.

        The same state of `rng` gives the same documents. What is planted for a query depends neither on the
        other queries nor, in the copies that both have, on `copies`. Raises ConfigError for a query that the
        task has not, a number of copies outside 1 to 10, or an encoder that the attack cannot use; DataError
        for a file of texts that cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Target:
    """A query under attack, and randomness of its own."""

    id: str
    text: str
    rng: np.random.Generator


Writer: TypeAlias = Callable[[Target, int], Sequence[str]]
"""Texts for a query, at most so many, best first."""


def plant(
    attack: str,
    task: RetrievalTask,
    queries: Sequence[str],
    rng: np.random.Generator,
    copies: int,
    write: Writer,
) -> list[Document]:
    """What `write` has for each query, as documents; see `RetrievalAttack.poison`.

    A query that is named twice is attacked once, and blank texts are left out.
    """
    if not 1 <= copies <= MOST_COPIES:
        raise ConfigError(f"copies is {copies}, but must lie between 1 and {MOST_COPIES}")
    seed = int(rng.integers(_SEED_BOUND))
    planted: list[Document] = []
    for query in dict.fromkeys(queries):
        if query not in task.queries:
            raise ConfigError(f"attack {attack!r}: the task has no query {query!r}")
        # As ASCII: an identifier may hold half of a surrogate pair, which no hash takes.
        own = np.random.default_rng(derive_seed(seed, attack, ascii(query)))
        texts = write(Target(query, task.queries[query], own), copies)
        for copy, text in enumerate([text for text in texts if text.strip()][:copies]):
            meta = {"attack": attack, "query": query, "copy": str(copy)}
            planted.append(Document(f"poison:{attack}:{query}:{copy}", text, meta))
    return planted


def build_attack(name: str, options: Mapping[str, Any] | None = None) -> RetrievalAttack:
    """The registered attack of that name with these options set, which are the fields of its dataclass.

    Raises UnknownNameError, with the nearest there is, for a name that is not registered and an option that
    it has not; ConfigError for a value that does not fit.
    """
    attack: RetrievalAttack = build_plugin(
        ATTACKS, "retrieval attack", name, options, lambda kind: hasattr(kind, "poison")
    )
    return attack


def led_by(query: str, text: str) -> str:
    """`text` behind the query: what PoisonedRAG's black-box form and most others begin with."""
    return f"{query}. {text}"
