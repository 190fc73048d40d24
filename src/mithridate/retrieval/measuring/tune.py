"""The setting to take: within what may be lost of quality, the one that lets least poison through, cheaply.

Chosen on some queries and reported on others: figures of what was chosen for them flatter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Literal

from mithridate.core.errors import ConfigError
from mithridate.core.seeds import rng_for
from mithridate.core.strict import Strict
from mithridate.retrieval.base import Encoder
from mithridate.retrieval.measuring import metrics
from mithridate.retrieval.measuring.benchmark import BenchProgress, run_benchmark
from mithridate.retrieval.measuring.options import BenchOptions, usable_queries
from mithridate.retrieval.measuring.records import PLAIN, BenchResult, CleanResult, Cost, Depth, Figure, Text
from mithridate.retrieval.task import RetrievalTask

CANDIDATES = (
    "mean_of_fragments",
    "mean_of_fragments(fragments=3)",
    "ragpart",
    "ragpart(fragments=7,combination=4)",
    "consensus",
    "ragpart+consensus",
    "ragmask(delta=0.1)",
    "ragmask",
    "ragpart+ragmask+consensus",
)
"""What is tried where nothing is named: from no encoding a query to many."""
TIE = 0.02
"""ASRs that differ by no more are taken as alike: so many queries cannot tell them apart."""
_FEWEST_QUERIES = 4


class Candidate(Strict):
    """One setting on the tuning queries; `asr` is the mean over attacks, copies and queries."""

    defense: Text
    asr: Figure
    ndcg_loss: Figure
    cost: Cost
    within_budget: bool


class Outcome(Strict):
    """A setting's figures on queries that had no part in its choice."""

    defense: Text
    asr: Figure
    ndcg: Figure
    ndcg_loss: Figure


class TuneResult(Strict):
    """What was chosen, out of what, and how it does elsewhere.

    `budget` is the loss of nDCG that is allowed, from 0 to 1; `k` the depth of the ASR. `chosen` may be the
    plain search, where nothing within the budget lets less poison through. `tuning` and `held_out` are the
    whole benchmarks; `outcomes` the plain search and the chosen setting on the held-out queries.
    """

    format: Literal["mithridate-guard-tune"] = "mithridate-guard-tune"
    version: Literal[1] = 1
    budget: float
    k: Depth
    chosen: Text
    candidates: list[Candidate]
    outcomes: list[Outcome]
    tuning: BenchResult
    held_out: BenchResult


def run_tuning(
    task: RetrievalTask,
    encoder: Encoder,
    budget: float,
    options: BenchOptions | None = None,
    *,
    name: str = "corpus",
    folder: Path | str | None = None,
    cache: Path | str | None = None,
    progress: BenchProgress | None = None,
) -> TuneResult:
    """Choose among the defences of `options` (by default `CANDIDATES`), losing at most `budget` of nDCG@10.

    The queries that `options` draws are split in halves by its seed. On one half each setting is measured;
    among those within the budget, what comes within `TIE` of the lowest ASR is compared by its cost: fewer
    encodings a query (in whole numbers), then milliseconds (to a tenth of a power of ten), then bytes of
    index. The choice and the plain search are measured on the other half. `budget` counts as 0.02 for two
    points of nDCG. Other parameters are those of `run_benchmark`.

    Raises ConfigError for a budget outside 0 to 1, without an attack, or with fewer than four queries that
    have a relevant document; else as `run_benchmark`.
    """
    options = BenchOptions(defenses=CANDIDATES) if options is None else options
    if not 0 <= budget <= 1:
        raise ConfigError(f"budget is {budget}, but must lie between 0 and 1; 0.02 are two points of nDCG")
    if not options.attacks:
        raise ConfigError("no attack is named; defences are chosen by what they let through")
    tuning_queries, held_out_queries = _halves(task, options)
    places = [None, None] if folder is None else [Path(folder) / part for part in ("tuning", "held-out")]

    def measured(part: BenchOptions, place: Path | None) -> BenchResult:
        return run_benchmark(task, encoder, part, name=name, folder=place, cache=cache, progress=progress)

    tuning = measured(replace(options, query_ids=tuning_queries), places[0])
    k = tuning.settings.timed_k
    candidates = [_candidate(tuning, clean, k, budget) for clean in tuning.clean]
    chosen = choose(candidates)
    held_out = measured(replace(options, query_ids=held_out_queries, defenses=(PLAIN, chosen)), places[1])
    return TuneResult(
        budget=budget,
        k=k,
        chosen=chosen,
        candidates=candidates,
        outcomes=[_outcome(held_out, clean, k) for clean in held_out.clean],
        tuning=tuning,
        held_out=held_out,
    )


def choose(candidates: Sequence[Candidate]) -> str:
    """The setting to take; see `run_tuning`. One of them must be within the budget."""
    within = [one for one in candidates if one.within_budget]
    lowest = min(one.asr.value for one in within)
    alike = [one for one in within if one.asr.value <= lowest + TIE]
    return min(alike, key=lambda one: (*_price(one.cost), one.asr.value, one.defense)).defense


def _price(cost: Cost) -> tuple[int, int, int]:
    milliseconds = round(10 * math.log10(cost.ms_median)) if cost.ms_median > 0 else -1000
    return round(cost.encodings), milliseconds, cost.index_bytes


def _halves(task: RetrievalTask, options: BenchOptions) -> tuple[list[str], list[str]]:
    usable = usable_queries(task) if options.query_ids is None else list(options.query_ids)
    usable = [query for query in usable if task.relevant(query)]
    if len(usable) < _FEWEST_QUERIES:
        raise ConfigError(
            f"{len(usable)} queries have a relevant document, but at least {_FEWEST_QUERIES} are needed: a "
            "setting is chosen on one half by what it does to nDCG, and reported on the other"
        )
    count = len(usable) if options.queries is None else min(options.queries, len(usable))
    drawn = rng_for(options.seed, "tuning", "queries").sample(usable, max(count, _FEWEST_QUERIES))
    return drawn[::2], drawn[1::2]


def _asr(result: BenchResult, defense: str, k: int) -> Figure:
    """The mean over attacks, copies and queries; the interval is over queries, each with its mean."""
    succeeded: dict[str, list[float]] = {}
    for one in result.attacked:
        for row in one.rows if one.defense == defense else ():
            hit = next(bool(found.own) for found in row.found if found.k == k)
            succeeded.setdefault(row.query, []).append(float(hit))
    if not succeeded:
        raise ConfigError("no attack has a text for any of the queries; name another attack")
    return metrics.mean([fmean(hits) for hits in succeeded.values()], result.settings.seed)


def _candidate(result: BenchResult, clean: CleanResult, k: int, budget: float) -> Candidate:
    loss = _known(clean.ndcg_loss)
    return Candidate(
        defense=clean.defense,
        asr=_asr(result, clean.defense, k),
        ndcg_loss=loss,
        cost=clean.cost,
        within_budget=loss.value <= budget,
    )


def _outcome(result: BenchResult, clean: CleanResult, k: int) -> Outcome:
    return Outcome(
        defense=clean.defense,
        asr=_asr(result, clean.defense, k),
        ndcg=_known(clean.ndcg),
        ndcg_loss=_known(clean.ndcg_loss),
    )


def _known(figure: Figure | None) -> Figure:
    assert figure is not None, "every query of a tuning is judged"
    return figure
