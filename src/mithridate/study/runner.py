"""Running a study: what can start starts, what is done is left alone, what was killed goes on."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from mithridate.core.artifacts import (
    LOCK,
    differences,
    done_record,
    exclusive,
    storage_errors,
    write_atomic,
)
from mithridate.core.errors import ConfigError, MithridateError, RunStateError, TrainingError
from mithridate.core.run_files import STUDY
from mithridate.study.collect import collect
from mithridate.study.config import StudyConfig
from mithridate.study.experiments import EXPERIMENTS, all_steps, collect_experiments
from mithridate.study.inputs import INPUTS, claim_inputs
from mithridate.study.plan import Step
from mithridate.study.reading import study_of_run, study_to_text
from mithridate.study.workers import News, start_worker, work

_MOST_WORKERS = 4
_LOOK_EVERY_S = 0.5
# What `core.artifacts`, the writing of checkpoints and safetensors itself leave behind when they are killed.
_PARTIAL = re.compile(r"\..+\.\d+\.(partial|old)|\.tmp[A-Za-z0-9]{6}")
_MENDED = ". With other settings it is another study, and needs another --out"
# What may differ between a run and the one that resumes it.
_FREE = {"workers"}


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

    Raises RunStateError if `out` belongs to another study or is in use, and whatever a step raises; what was
    done stays done, and the same call goes on from there.
    """
    # Before anything is written: a lock file has no business in a folder that is somebody else's.
    _refuse_foreign(out)
    with exclusive(out):
        begun = claim(config, out)
        sweep_partial(out)
        everything = all_steps(config, out)
        # Threads are part of what makes two runs equal to the bit: they stay as they were when it was begun,
        # however many models are worked on at once now, or are left to do.
        threads = threads_each(begun)
        do_steps(everything, workers_of(config, threads), threads, watching)
        collect_experiments(config, out)
        collect(config, out, everything)


def claim(config: StudyConfig, out: Path) -> StudyConfig:
    """Make `out` this study's, or see that it already is; returns the study as it was begun.

    A study that asks for more experiments than the one that is there, and for all of its own, goes on from
    it. Raises RunStateError naming what differs otherwise, in the study or in a file that it names; DataError
    if such a file cannot be read.
    """
    kept = out / STUDY
    if kept.exists():
        there = study_of_run(kept)
        before, now = (study.model_dump(mode="json", exclude=_FREE) for study in (there, config))
        differing = differences(before, now)
        extended = bool(differing) and _extends(config, there, out)
        if differing and not extended:
            raise RunStateError(
                f"{out}: holds another study, which differs in {'; '.join(differing)}. "
                "Choose another --out, or remove it"
            )
        claim_inputs(config, out, more=extended)
        if extended:
            # What may differ stays as it was begun: threads go by it.
            begun = config.model_copy(update={name: getattr(there, name) for name in _FREE})
            write_atomic(kept, study_to_text(begun))
            return begun
        return there
    _refuse_foreign(out)
    (out / INPUTS).unlink(missing_ok=True)  # of a study that was killed before it was written down
    claim_inputs(config, out)
    write_atomic(kept, study_to_text(config))
    return config


def _extends(config: StudyConfig, there: StudyConfig, out: Path) -> bool:
    """Whether `config` is the study `there` with nothing changed and more experiments, or more of one."""
    sections = {experiment.section for experiment in EXPERIMENTS}
    stages = [study.model_dump(mode="json", exclude=_FREE | sections) for study in (there, config)]
    if differences(*stages):
        return False
    now = {step.folder: step.identity() for step in all_steps(config, out)}
    return all(now.get(step.folder) == step.identity() for step in all_steps(there, out))


def _refuse_foreign(out: Path) -> None:
    """Raise RunStateError if `out` is something else than a run directory, or a place for one."""
    blocking = next((place for place in (out, *out.parents) if place.exists()), out)
    if blocking.exists() and not blocking.is_dir():
        raise RunStateError(f"{out}: {blocking} is a file, and a run needs a folder; choose another --out")
    if not out.exists() or (out / STUDY).exists():
        return
    with storage_errors(out):
        foreign = sorted(entry.name for entry in out.iterdir() if not _is_ours(entry.name))
    if foreign:
        raise RunStateError(f"{out}: is not empty and holds no study ({foreign[0]}); choose another --out")


def _is_ours(name: str) -> bool:
    return name in (LOCK, INPUTS) or _PARTIAL.fullmatch(name) is not None


def sweep_partial(out: Path) -> None:
    """Remove what a killed process was writing; nobody else writes here while the directory is held."""
    for path in [path for path in out.rglob(".*") if _PARTIAL.fullmatch(path.name)]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def worker_count(config: StudyConfig) -> int:
    """Models worked on at once: the study's own number, or one for each core, or one on a GPU."""
    if config.workers is not None:
        return config.workers
    import torch  # noqa: PLC0415 - a dry run of a file with `workers` does without

    if torch.cuda.is_available():
        return 1
    return min(_MOST_WORKERS, os.cpu_count() or 1)


def workers_of(config: StudyConfig, threads: int) -> int:
    """Models worked on at once, of `threads` each: no more than the cores hold, unless the study says so.

    A run that was begun with one worker keeps its many threads, and threads that outnumber the cores wait for
    one another: two workers of two on two cores were several times slower than either alone.
    """
    workers = worker_count(config)
    return workers if config.workers is not None else min(workers, max(1, (os.cpu_count() or 1) // threads))


def threads_each(config: StudyConfig) -> int:
    """Threads of each worker, where there are as many as the study has."""
    return max(1, (os.cpu_count() or 1) // worker_count(config))


def do_steps(everything: list[Step], workers: int, threads: int, watching: Watching) -> None:
    """Do what is not done of `everything`, `workers` steps at once, each after those that it needs.

    Raises whatever a step raises, with the step named in front, and RunStateError where a worker died.
    """
    done = {step.folder for step in everything if is_done(step)}
    watching.planned(everything, len(done))
    waiting = [step for step in everything if step.folder not in done]
    if not waiting:
        return
    context = multiprocessing.get_context("spawn")
    with _environment(threads):
        news: Any = context.Queue()
        pool = ProcessPoolExecutor(
            min(workers, len(waiting)), context, start_worker, (threads, news, os.getpid())
        )
        running: dict[Future[float], Step] = {}
        try:
            while waiting or running:
                ready = sorted(
                    (s for s in waiting if done.issuperset(s.needs)), key=lambda step: step.priority
                )
                for step in ready[: workers - len(running)]:
                    waiting.remove(step)
                    running[pool.submit(work, step)] = step
                assert running, "steps wait for each other"
                finished, _ = wait(running, timeout=_LOOK_EVERY_S, return_when=FIRST_COMPLETED)
                _pass_on(news, watching)
                for future in finished:
                    step = running.pop(future)
                    seconds = _result(step, future)
                    done.add(step.folder)
                    watching.finished(step, seconds)
        finally:
            # What is still being worked on is not waited for: it will be done from its last resume point.
            for process in list((pool._processes or {}).values()) if running else ():
                process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """What workers find when they start: numpy's kernels and tokenisers read it then; torch is told."""
    # The tracker of semaphores would complain of those of a stopped worker, which it then removes.
    quiet = ",".join(filter(None, [os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker"]))
    wanted = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": quiet}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def is_done(step: Step) -> bool:
    """Whether the step's folder holds what it would write now."""
    record = done_record(step.folder)
    return record is not None and record.get("identity") == step.identity()


def _result(step: Step, future: Future[float]) -> float:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise RunStateError(
            f"{step.label}: the worker process died, perhaps for want of memory. What was done is kept: "
            "run the same command again, with workers=1 if it happens again"
        ) from error
    except MithridateError as error:
        # What is mended in the study file makes another study of it.
        mended = isinstance(error, ConfigError | TrainingError)
        error.args = (f"{step.label}: {error}{_MENDED if mended else ''}",)
        raise


def _pass_on(news: Any, watching: Watching) -> None:
    while not news.empty():
        told: News = news.get()
        watching.news(*told)
