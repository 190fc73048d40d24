"""Shards spread over processes of one machine."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from mithridate.core.errors import RunStateError
from mithridate.corpus.doses import PlantPlan
from mithridate.corpus.shard_planting import Job, ShardResult, plant_shard

_plan_of_worker: PlantPlan | None = None


def _start_worker(plan: PlantPlan) -> None:
    global _plan_of_worker  # noqa: PLW0603 - sent once a process, not once a shard
    _plan_of_worker = plan
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """An orphan must not write where the next run of the command does."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(job: Job) -> ShardResult:
    assert _plan_of_worker is not None
    return plant_shard(job, _plan_of_worker)


def plant_shards(jobs: Sequence[Job], plan: PlantPlan, workers: int) -> Iterator[ShardResult]:
    """Plant the shards of `jobs`, in processes of their own where there are several workers.

    Raises RunStateError if one of them dies.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        for job in jobs:
            yield plant_shard(job, plan)
        return
    # Spawned, because a process with threads of its own (torch, Arrow) must not be forked.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (plan,)) as pool:
        remaining, running = iter(jobs), set[Future[ShardResult]]()
        try:
            while True:
                running |= {pool.submit(_work, job) for job in islice(remaining, 4 * workers - len(running))}
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool as error:
            raise RunStateError(
                "a worker process died, perhaps for want of memory. "
                "Run the same command again, with fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
