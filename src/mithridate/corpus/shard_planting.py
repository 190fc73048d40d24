"""Planting one shard, with nothing known of the others."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from mithridate.core.artifacts import storage_errors, sweep, write_atomic
from mithridate.core.errors import DataError, RunStateError
from mithridate.core.seeds import rng_for
from mithridate.corpus.doses import Dose, PlantPlan, Schedule, dose
from mithridate.corpus.ledger import ShardRecord, StateFolder, ledger_writer, row_of
from mithridate.corpus.shards import CHANGED_MEANWHILE, Insertion, Placed, Shard, Surveyed
from mithridate.corpus.streams import read_errors, sha256_of


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What is kept of a planted shard until all are done.

    `planted` holds documents and tokens by request, `least_rates` the rate from which each would get a
    document.
    """

    record: ShardRecord
    planted: dict[str, tuple[int, int]]
    least_rates: dict[str, float]


_RESULT = TypeAdapter(ShardResult)


@dataclass(frozen=True, slots=True)
class Job:
    """One shard to plant: its number, and the documents of each request that is given as a count."""

    index: int
    shard: Shard
    quotas: tuple[int | None, ...]
    out: Path


def finished(job: Job) -> ShardResult | None:
    """The result of a shard that was written before, if it still stands.

    Raises RunStateError if the original has become another since.
    """
    state = StateFolder(job.out)
    try:
        result = _RESULT.validate_json(state.part(job.index, ".json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    record = result.record
    stands = (
        record.shard == job.shard.name
        and job.shard.size_at(job.shard.output(job.out)) == record.planted_size
        and (not record.planted_documents or state.part(job.index, ".parquet").exists())
    )
    if not stands:
        return None
    check_unchanged(job.shard, record, job.out)
    return result


def check_unchanged(shard: Shard, record: ShardRecord, out: Path) -> None:
    """Raise RunStateError unless `shard` is what was planted in `out`; it is read only if it was touched."""
    with read_errors(shard.path):
        same = shard.stamp() == record.stamp or (
            shard.size == record.size and shard.digest() == record.sha256
        )
    if not same:
        raise RunStateError(
            f"{shard.path}: was changed since it was planted in {out}. Put it back, or choose another --out"
        )


def plant_shard(job: Job, plan: PlantPlan) -> ShardResult:
    """Survey one shard, decide what it gets, write it, and record it last.

    Raises DataError if it cannot be read, or is changed meanwhile.
    """
    shard, target = job.shard, job.shard.output(job.out)
    with read_errors(shard.path):
        stamp = shard.stamp()
        surveyed = shard.survey(plan.counter)
    doses = [
        dose(plan, request, shard.name, surveyed.tokens, quota)
        for request, quota in zip(plan.requests, job.quotas, strict=True)
    ]
    schedule = Schedule(plan, shard.name, surveyed.documents, doses)
    planted_hash, original = _write(job, surveyed, schedule, rng_for(plan.seed, shard.name, "identifiers"))
    if shard.stamp() != stamp or shard.size_at(shard.path) != shard.size:
        raise DataError(CHANGED_MEANWHILE, path=shard.path)
    size = shard.size_at(target)
    assert size is not None
    tokens = [sum(given.tokens) for given in doses]
    result = ShardResult(
        record=ShardRecord(
            shard=shard.name,
            format=shard.format,
            documents=surveyed.documents,
            clean_tokens=surveyed.tokens,
            planted_documents=len(schedule),
            planted_tokens=sum(tokens),
            size=shard.size,
            sha256=surveyed.sha256,
            planted_size=size,
            planted_sha256=planted_hash,
            original=original,
            stamp=stamp,
        ),
        planted=_by_request(plan, doses, tokens),
        least_rates={
            request.name: given.least_rate
            for request, given in zip(plan.requests, doses, strict=True)
            if math.isfinite(given.least_rate)
        },
    )
    write_atomic(StateFolder(job.out).part(job.index, ".json"), json.dumps(asdict(result)) + "\n")
    return result


def _write(job: Job, surveyed: Surveyed, schedule: Schedule, rng: random.Random) -> tuple[str, str]:
    """Write the shard and its part of the ledger.

    Returns the hash of the planted shard and the name of the kept original, where one has to be kept.
    """
    state, shard, target = StateFolder(job.out), job.shard, job.shard.output(job.out)
    rows = state.part(job.index, ".parquet")
    sweep(target)
    sweep(rows)
    if not len(schedule):
        shard.copy(target)
        rows.unlink(missing_ok=True)
        return "", ""
    with ledger_writer(rows) as ledger:

        def record(insertion: Insertion, placed: Placed) -> None:
            ledger.add(row_of(shard.name, insertion, placed))

        surveyed.write(target, schedule, rng, record)
    return ("", "") if shard.reversible else (sha256_of(target), keep_original(shard, state))


def _by_request(plan: PlantPlan, doses: Iterable[Dose], tokens: Iterable[int]) -> dict[str, tuple[int, int]]:
    return {
        request.name: (len(given.tokens), total)
        for request, given, total in zip(plan.requests, doses, tokens, strict=True)
    }


def keep_original(shard: Shard, state: StateFolder) -> str:
    """Keep the original of `shard` in the state folder and return its name there.

    A hard link where the file system allows one, which costs no space; else a copy.
    """
    kept = state.original(shard.name)
    with storage_errors(kept):
        kept.parent.mkdir(parents=True, exist_ok=True)
        sweep(kept)
        kept.unlink(missing_ok=True)
        try:
            os.link(shard.path.resolve(), kept)
        except OSError:
            shard.copy(kept)
    return kept.relative_to(state.path).as_posix()
