"""Running a study: what can start starts, what is done is left alone, what was killed goes on."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

from mithridate.core import errors
from mithridate.core.artifacts import done_record, exclusive, storage_errors, write_atomic
from mithridate.core.errors import MithridateError, RunStateError
from mithridate.study.collect import collect
from mithridate.study.config import StudyConfig
from mithridate.study.layout import STUDY
from mithridate.study.plan import Step, steps
from mithridate.study.reading import study_from_text, study_to_text
from mithridate.study.workers import News, start_worker, work

_MOST_WORKERS = 4
_LOOK_EVERY_S = 0.5
# What may differ between a run and the one that resumes it.
_FREE = ("workers",)


class Watching(Protocol):
    """Whoever shows how a run gets on."""

    def planned(self, steps: list[Step], done: int) -> None:
        """All steps, of which `done` were done before."""

    def news(self, label: str, done: int, total: int, loss: float) -> None:
        """A step's progress."""

    def finished(self, step: Step, seconds: float) -> None:
        """A step is done."""


def run_study(config: StudyConfig, out: Path, watching: Watching) -> None:
    """Do what is left of the study in `out`, then gather its rows.

    Raises RunStateError if `out` belongs to another study or is in use, and whatever a step raises; what was done
    stays done, and the same call goes on from there.
    """
    with exclusive(out):
        claim(config, out)
        everything = steps(config, out)
        _run(everything, config, watching)
        collect(config, out, everything)


def claim(config: StudyConfig, out: Path) -> None:
    """Make `out` this study's, or see that it already is.

    Raises RunStateError naming what differs.
    """
    kept = out / STUDY
    if kept.exists():
        there = study_from_text(kept.read_text(encoding="utf-8"), str(kept))
        differences = list(_differences(there.model_dump(mode="json"), config.model_dump(mode="json")))
        if differences:
            raise RunStateError(
                f"{out}: holds another study, which differs in {'; '.join(differences)}. "
                "Choose another --out, or remove it"
            )
        return
    with storage_errors(out):
        foreign = sorted(entry.name for entry in out.iterdir() if entry.name not in ("run.lock", STUDY))
    if foreign:
        raise RunStateError(f"{out}: is not empty and holds no study ({foreign[0]}); choose another --out")
    write_atomic(kept, study_to_text(config))


def _differences(there: Any, now: Any, above: str = "") -> Iterable[str]:
    if isinstance(there, dict) and isinstance(now, dict):
        for key in sorted({*there, *now}):
            if above or key not in _FREE:
                yield from _differences(there.get(key), now.get(key), f"{above}.{key}" if above else key)
    elif there != now:
        yield f"{above} ({there!r} there, {now!r} now)"


def worker_count(config: StudyConfig) -> int:
    """Models worked on at once: the study's own number, or one for each core, or one on a GPU."""
    if config.workers is not None:
        return config.workers
    import torch  # noqa: PLC0415 - a dry run of a file with `workers` does without

    if torch.cuda.is_available():
        return 1
    return min(_MOST_WORKERS, os.cpu_count() or 1)


def _run(everything: list[Step], config: StudyConfig, watching: Watching) -> None:
    done = {step.folder for step in everything if _is_done(step)}
    watching.planned(everything, len(done))
    waiting = [step for step in everything if step.folder not in done]
    if not waiting:
        return
    workers = min(worker_count(config), len(waiting))
    threads = max(1, (os.cpu_count() or 1) // workers)
    # Kernels of numpy and tokenisers read this when they start; torch is told by itself.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    context = multiprocessing.get_context("spawn")
    news: Any = context.Queue()
    pool = ProcessPoolExecutor(workers, context, start_worker, (threads, news, os.getpid()))
    running: dict[Future[Any], Step] = {}
    try:
        while waiting or running:
            ready = sorted((s for s in waiting if done.issuperset(s.needs)), key=lambda step: step.priority)
            for step in ready[: workers - len(running)]:
                waiting.remove(step)
                running[pool.submit(work, step)] = step
            finished, _ = wait(running, timeout=_LOOK_EVERY_S, return_when=FIRST_COMPLETED)
            _pass_on(news, watching)
            for future in finished:
                step = running.pop(future)
                seconds = _result(step, future)
                done.add(step.folder)
                watching.finished(step, seconds)
    finally:
        # What is still being worked on is not waited for: it would be done again from its last resume point.
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _is_done(step: Step) -> bool:
    record = done_record(step.folder)
    return record is not None and record.get("identity") == step.identity()


def _result(step: Step, future: Future[Any]) -> float:
    try:
        seconds, problem, kind = future.result()
    except BrokenProcessPool as error:
        raise RunStateError(
            f"{step.label}: the worker process died, perhaps for want of memory. What was done is kept: run the same "
            "command again, with workers=1 if it happens again"
        ) from error
    if problem is not None:
        error_type: type[MithridateError] = getattr(errors, kind["type"], MithridateError)
        error = error_type.__new__(error_type)
        # The words are already those of the whole error; its own constructor would ask for the parts.
        Exception.__init__(error, f"{step.label}: {problem}")
        raise error
    return float(seconds)


def _pass_on(news: Any, watching: Watching) -> None:
    while not news.empty():
        told: News = news.get()
        watching.news(*told)


