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

from mithridate.core.artifacts import storage_errors, write_atomic
from mithridate.core.seeds import rng_for
from mithridate.corpus.doses import Dose, PlantPlan, Schedule, dose
from mithridate.corpus.ledger import LedgerWriter, ShardRecord, StateFolder, row_of
from mithridate.corpus.shards import Insertion, Placed, Shard, Surveyed
from mithridate.corpus.streams import sha256_of


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What is kept of a planted shard until all are done.

    `planted` holds documents and tokens by request, `least_rates` the rate from which each would get a
    document.
    """

    record: ShardRecord
    planted: dict[str, tuple[int, int]]
    least_rates: dict[str, float]


@dataclass(frozen=True, slots=True)
class Job:
    """One shard to plant: its number, and the documents of each request that is given as a count."""

    index: int
    shard: Shard
    quotas: tuple[int | None, ...]
    out: Path


def finished(job: Job) -> ShardResult | None:
    """The result of a shard that was written before, if it still stands and its original is the same."""
    path = StateFolder(job.out).part(job.index, ".json")
    try:
        result = TypeAdapter(ShardResult).validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    record = result.record
    same = record.shard == job.shard.name and record.size == job.shard.size
    return (
        result if same and job.shard.planted_size(job.shard.output(job.out)) == record.planted_size else None
    )


def plant_shard(job: Job, plan: PlantPlan) -> ShardResult:
    """Survey one shard, decide what it gets, write it, and record it last."""
    shard, target = job.shard, job.shard.output(job.out)
    surveyed = shard.survey(plan.counter)
    doses = [
        dose(plan, request, shard.name, surveyed.tokens, quota)
        for request, quota in zip(plan.requests, job.quotas, strict=True)
    ]
    schedule = Schedule(plan, shard.name, surveyed.documents, doses)
    planted_hash, original = _write(job, surveyed, schedule, rng_for(plan.seed, shard.name, "identifiers"))
    size = shard.planted_size(target)
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
    _sweep(target, rows)
    if not len(schedule):
        shard.copy(target)
        rows.unlink(missing_ok=True)
        return "", ""
    with LedgerWriter(rows) as ledger:

        def record(insertion: Insertion, placed: Placed) -> None:
            ledger.add(row_of(shard.name, insertion, placed))

        surveyed.write(target, schedule, rng, record)
    return ("", "") if shard.reversible else (sha256_of(target), keep_original(shard, state))


def _by_request(plan: PlantPlan, doses: Iterable[Dose], tokens: Iterable[int]) -> dict[str, tuple[int, int]]:
    return {
        request.name: (len(given.tokens), total)
        for request, given, total in zip(plan.requests, doses, tokens, strict=True)
    }


def _sweep(*targets: Path) -> None:
    """Remove what a killed process left beside the files it was writing."""
    for target in targets:
        for leftover in target.parent.glob(f".{_escaped(target.name)}.*.partial"):
            leftover.unlink(missing_ok=True)


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def keep_original(shard: Shard, state: StateFolder) -> str:
    """Keep the original of `shard` in the state folder and return its name there.

    A hard link where the file system allows one, which costs no space; else a copy.
    """
    kept = state.original(shard.name)
    with storage_errors(kept):
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.unlink(missing_ok=True)
        try:
            os.link(shard.path.resolve(), kept)
        except OSError:
            shard.copy(kept)
    return kept.relative_to(state.path).as_posix()
