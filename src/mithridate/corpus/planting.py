"""Planting a corpus: shard by shard, in any order, by any number of processes and machines; resumable."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mithridate.core.artifacts import MARKER, done_record, fingerprint, mark_done, sweep
from mithridate.core.errors import ConfigError, DataError, StorageError
from mithridate.core.tables import read_rows, write_rows
from mithridate.corpus.datasets_metadata import mend_metadata
from mithridate.corpus.doses import MAX_RATE, PlantPlan
from mithridate.corpus.ledger import OnShard, ShardRecord, StateFolder, merge_ledgers
from mithridate.corpus.ownership import claim, identity, joint, part_held, refuse_foreign, tidy
from mithridate.corpus.readers import STATE_FOLDER, Corpus, read_json
from mithridate.corpus.shard_planting import (
    Job,
    ShardResult,
    check_unchanged,
    finished,
    keep_original,
)
from mithridate.corpus.textfolder import TextFolder, text_names
from mithridate.corpus.workers import plant_shards


@dataclass(frozen=True, slots=True)
class Planted:
    """What became of one request; the realised rate is planted tokens / clean tokens."""

    name: str
    requested_rate: float | None
    requested_count: int | None
    documents: int
    tokens: int
    realised_rate: float


@dataclass(frozen=True, slots=True)
class PlantReport:
    """What was planted; not `complete` while other parts of the corpus are still to be done elsewhere."""

    attacks: tuple[Planted, ...]
    clean_documents: int
    clean_tokens: int
    counted: str
    ledger: Path
    seconds: float
    complete: bool


def plant_corpus(
    corpus: Corpus,
    out: Path,
    plan: PlantPlan,
    *,
    workers: int = 1,
    part: tuple[int, int] = (1, 1),
    on_shard: OnShard | None = None,
) -> PlantReport:
    """Copy `corpus` to the folder `out` with what `plan` asks for planted in it.

    The bytes written depend on the corpus and the plan alone, not on `workers` or `part`. With `part` = (2,
    8) only every eighth shard is done, beginning with the second; whoever finishes last joins the ledger.
    Called again after an interruption it goes on where it stopped. `on_shard` hears of each shard that is
    written.

    Raises ConfigError if a rate plants nothing anywhere, RunStateError if `out` belongs to another plan or
    is in use, or the corpus was changed since it was planted there, StorageError if `out` holds something
    else, DataError if a shard cannot be read.
    """
    started = time.monotonic()
    out = Path(out)
    state = StateFolder(out)
    _check_places(corpus, out, part)
    wanted = identity(corpus, plan)
    refuse_foreign(state, wanted)
    if done_record(state.path) is None:
        with ExitStack() as held:
            jobs = list(_jobs(corpus, plan, out))
            # From here to the end of its part, nobody removes what it finds.
            with joint(state):
                claim(state, wanted)
                held.enter_context(part_held(state, part))
                mine = _missing(state, jobs[part[0] - 1 :: part[1]])
            _plant(plan, state, jobs, mine, workers=workers, alone=part == (1, 1), on_shard=on_shard)
            with joint(state):
                total, complete = _joined(plan, state, jobs)
            return _report(plan, state, total, time.monotonic() - started, complete=complete)
    tidy(state)  # of one that was killed after it was complete
    return _report(plan, state, _unchanged(corpus, state), time.monotonic() - started, complete=True)


def _missing(state: StateFolder, jobs: Iterable[Job]) -> list[Job]:
    """Those of `jobs` that are still to be done."""
    if done_record(state.path) is not None:
        return []
    return [job for job in jobs if finished(job) is None]


def _plant(
    plan: PlantPlan,
    state: StateFolder,
    jobs: Sequence[Job],
    mine: Sequence[Job],
    *,
    workers: int,
    alone: bool,
    on_shard: OnShard | None,
) -> None:
    """Plant the shards of `mine`; whether nobody else may be at work on `jobs`, `alone` says."""
    try:
        for result in plant_shards(mine, plan, workers):
            if on_shard is not None:
                on_shard(result.record, len(mine))
    except (ConfigError, DataError):
        # A wrong field name, say: the corrected command must not meet the claim of the wrong one.
        if alone and all(finished(job) is None for job in jobs):
            with joint(state):
                _discard(state, jobs)
        raise


def _joined(plan: PlantPlan, state: StateFolder, jobs: Sequence[Job]) -> tuple[dict[str, Any], bool]:
    """Sums over all shards, after the last of them was done; or over those done so far, and False."""
    total = done_record(state.path)
    if total is None:
        done = [result for result in map(finished, jobs) if result is not None]
        if len(done) < len(jobs):
            return _tally(done), False
        total = _finish(plan, state, jobs, done)
    tidy(state)
    return total, True


def _unchanged(corpus: Corpus, state: StateFolder) -> dict[str, Any]:
    """Sums over a complete planting.

    Raises RunStateError naming the file that is no longer what was planted.
    """
    records = {record.shard: record for record in read_rows(state.shards, ShardRecord)}
    for shard in (*corpus.shards, *corpus.others):
        check_unchanged(shard, records[shard.name], state.out)
    total = done_record(state.path)
    assert total is not None
    return total


def _check_places(corpus: Corpus, out: Path, part: tuple[int, int]) -> None:
    if not 1 <= part[0] <= part[1]:
        raise ConfigError(f"part {part[0]} of {part[1]}: parts are numbered from 1")
    source, target = corpus.path.resolve(), out.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise StorageError(f"{out}: the output must lie outside the corpus {corpus.path}, and not around it")
    folder = corpus.path if corpus.path.is_dir() else corpus.path.parent
    if (folder / STATE_FOLDER).exists():
        raise ConfigError(
            f"{corpus.path}: something is planted here already; plant in the original, or unplant it first"
        )


def _jobs(corpus: Corpus, plan: PlantPlan, out: Path) -> Iterator[Job]:
    quotas = plan.quotas([shard.size for shard in corpus.shards])
    nothing = (0,) * len(plan.requests)
    for index, shard in enumerate((*corpus.shards, *corpus.others)):
        yield Job(index, shard, quotas[index] if index < len(quotas) else nothing, out)


def _tally(results: Iterable[ShardResult]) -> dict[str, Any]:
    """Sums over the shards that are done."""
    total: dict[str, Any] = {"files": 0, "documents": 0, "tokens": 0, "planted": {}, "least_rates": {}}
    for result in results:
        total["files"] += 1
        total["documents"] += result.record.documents
        total["tokens"] += result.record.clean_tokens
        for name, (documents, tokens) in result.planted.items():
            before = total["planted"].get(name, (0, 0))
            total["planted"][name] = (before[0] + documents, before[1] + tokens)
        for name, rate in result.least_rates.items():
            total["least_rates"][name] = min(rate, total["least_rates"].get(name, math.inf))
    return total


def _finish(
    plan: PlantPlan, state: StateFolder, jobs: Sequence[Job], results: Sequence[ShardResult]
) -> dict[str, Any]:
    """Check the whole, join the ledger, and declare the planting complete."""
    total = _tally(results)
    try:
        _check_whole(plan, state, total)
    except (ConfigError, DataError):
        _discard(state, jobs)
        raise
    records = mend_metadata(
        [(job.shard, result.record) for job, result in zip(jobs, results, strict=True)],
        state,
        fingerprint(read_json(state.plan)),
        keep_original,
    )
    for path in (state.ledger, state.shards, state.path / MARKER):
        sweep(path)
    merge_ledgers(
        (
            (state.part(job.index, ".parquet"), result.record.planted_documents)
            for job, result in zip(jobs, results, strict=True)
        ),
        state.ledger,
    )
    write_rows(state.shards, ShardRecord, records)
    mark_done(state.path, total)
    return total


def _check_whole(plan: PlantPlan, state: StateFolder, total: Mapping[str, Any]) -> None:
    if not total["documents"]:
        raise DataError("the corpus holds no document", path=read_json(state.plan)["corpus"]["name"])
    for request in plan.requests:
        if request.rate and not total["planted"][request.name][0]:
            least = total["least_rates"].get(request.name, math.inf)
            advice = (
                f"The smallest that plants one document here is {_rounded_up(least)}"
                if least < MAX_RATE
                else "The corpus is too small for any rate"
            )
            raise ConfigError(
                f"attack {request.name!r}: a rate of {request.rate:g} plants nothing in "
                f"{total['tokens']} clean {plan.counter.name}. {advice}; or give a count"
            )


def _rounded_up(rate: float) -> str:
    """`rate` to three digits, rounded so that it is enough."""
    step = 10.0 ** (math.floor(math.log10(rate)) - 2) if rate > 0 else 1e-9
    return f"{(math.floor(rate / step) + 1) * step:.3g}"


def _discard(state: StateFolder, jobs: Iterable[Job]) -> None:
    """Remove an output in which nothing was planted, so that the same place can be used again."""
    for job in jobs:
        target = job.shard.output(state.out)
        if not isinstance(job.shard, TextFolder):
            target.unlink(missing_ok=True)
        elif target.is_dir():
            for name in text_names(target):
                (target / name).unlink()
    shutil.rmtree(state.path, ignore_errors=True)
    folders = sorted((p for p in state.out.rglob("*") if p.is_dir()), reverse=True)
    for folder in (*folders, state.out):
        with suppress(OSError):  # not empty, or where somebody stands
            folder.rmdir()


def _report(
    plan: PlantPlan, state: StateFolder, total: Mapping[str, Any], seconds: float, *, complete: bool
) -> PlantReport:
    clean = int(total["tokens"])
    attacks = []
    for request in plan.requests:
        documents, tokens = total["planted"].get(request.name, (0, 0))
        attacks.append(
            Planted(
                request.name, request.rate, request.count, documents, tokens, tokens / clean if clean else 0.0
            )
        )
    return PlantReport(
        tuple(attacks), int(total["documents"]), clean, plan.counter.name, state.ledger, seconds, complete
    )
