"""What a benchmark is asked to measure, checked before anything is encoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mithridate.core.errors import ConfigError
from mithridate.core.seeds import rng_for
from mithridate.retrieval.attacks.base import RetrievalAttack, build_attack
from mithridate.retrieval.measuring.records import PLAIN
from mithridate.retrieval.measuring.written import Call, Chain, parse_calls, parse_chains
from mithridate.retrieval.task import RetrievalTask

DEFAULT_ATTACKS = ("query_as_poison",)
DEFAULT_DEFENSES = (PLAIN, "mean_of_fragments", "ragpart", "ragmask", "ragpart+ragmask+consensus")
_MOST_COPIES = 10
_MOST_HITS = 1_000_000
_TIMED_K = 5


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """The grid, and on what it is measured.

    `attacks` and `defenses` are written as `written` reads them; the plain search is added to the defences.
    `queries` is how many of the task's are drawn by `seed` (all where there are fewer, or for None), unless
    `query_ids` names them. `copies` are numbers of planted documents a query, each measured for itself.

    Raises ConfigError for a number that cannot be.
    """

    attacks: Sequence[str] = DEFAULT_ATTACKS
    defenses: Sequence[str | Chain] = DEFAULT_DEFENSES
    top_ks: Sequence[int] = (3, 5, 10)
    copies: Sequence[int] = (1,)
    queries: int | None = 50
    query_ids: Sequence[str] | None = None
    seed: int = 0
    timed_queries: int = 20

    def __post_init__(self) -> None:
        if not self.top_ks or not all(1 <= one <= _MOST_HITS for one in self.top_ks):
            raise ConfigError(
                f"top_ks is {list(self.top_ks)}, but must hold numbers of hits between 1 and {_MOST_HITS:,}"
            )
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}, but cannot be negative")
        if not self.copies or not all(1 <= one <= _MOST_COPIES for one in self.copies):
            raise ConfigError(
                f"copies is {list(self.copies)}, but must hold numbers between 1 and {_MOST_COPIES}"
            )
        if self.queries is not None and self.queries < 1:
            raise ConfigError(f"queries is {self.queries}, but must be at least 1")
        if self.timed_queries < 1:
            raise ConfigError(f"timed_queries is {self.timed_queries}, but must be at least 1")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured: chains, the plain search first, attacks, and the queries in the task's order."""

    chains: tuple[Chain, ...]
    attacks: tuple[tuple[Call, RetrievalAttack], ...]
    queries: tuple[str, ...]
    top_ks: tuple[int, ...]
    copies: tuple[int, ...]
    timed_k: int

    @classmethod
    def of(cls, task: RetrievalTask, options: BenchOptions) -> Plan:
        """Raises UnknownNameError for a name or option that there is not, ConfigError for the rest."""
        ks = tuple(sorted(set(options.top_ks)))
        calls = parse_calls(options.attacks, "attack") if options.attacks else []
        return cls(
            chains=tuple(parse_chains([PLAIN, *options.defenses])),
            attacks=tuple((call, build_attack(call.name, call.options)) for call in calls),
            queries=_drawn(task, options),
            top_ks=ks,
            copies=tuple(sorted(set(options.copies))),
            timed_k=_TIMED_K if _TIMED_K in ks else ks[-1],
        )


def usable_queries(task: RetrievalTask) -> list[str]:
    """The queries that have a relevant document, or all where none has; blank ones are passed over.

    Raises ConfigError if none is left.
    """
    found = [query for query in task.judged() or task.queries if task.queries[query].strip()]
    if not found:
        raise ConfigError(
            "the corpus comes without queries, and nothing can be measured without: put it into a folder as "
            'corpus.jsonl beside queries.jsonl (a line a query: {"_id": …, "text": …}), with judgements in '
            "qrels/test.tsv if you have any; or give a .json file of questions"
        )
    return found


def _drawn(task: RetrievalTask, options: BenchOptions) -> tuple[str, ...]:
    if options.query_ids is None:
        usable = usable_queries(task)
        count = len(usable) if options.queries is None else min(options.queries, len(usable))
        wanted = set(rng_for(options.seed, "benchmark", "queries").sample(usable, count))
    else:
        wanted = set(options.query_ids)
        if missing := sorted(wanted - set(task.queries)):
            raise ConfigError(f"{len(missing)} of the queries are not in the corpus, such as {missing[0]!r}")
    if not wanted:
        raise ConfigError("no query is named; give at least one")
    return tuple(query for query in task.queries if query in wanted)
