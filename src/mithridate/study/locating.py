"""Localisation in a finished run: its experiments as steps that resume, and their rows gathered."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mithridate.core.artifacts import MARKER, done_record, exclusive
from mithridate.core.errors import DataError, RunStateError
from mithridate.core.located import LOCALIZATION, Located
from mithridate.core.run_files import MEASUREMENTS, STUDY
from mithridate.core.tables import read_rows, write_rows
from mithridate.study.locate_plan import LocateOptions, locate_steps
from mithridate.study.plan import Step
from mithridate.study.reading import study_of_run
from mithridate.study.runner import Watching, do_steps, sweep_partial, threads_each, worker_count


def locate_run(
    out: Path, options: LocateOptions, watching: Watching, *, doses: Sequence[str] = ()
) -> list[Located]:
    """Do what is left of the experiments on the models of the run in `out`; returns and keeps their rows.

    `doses` names which poisoned models are looked into, by default those of the largest dose. Raises
    RunStateError where there is no finished run or another process works on it, ConfigError for a dose that
    is not there, and whatever an experiment raises; the same call goes on where it stopped.
    """
    _require_finished(out)
    config = study_of_run(out / STUDY)
    with exclusive(out):
        sweep_partial(out)
        steps = locate_steps(config, out, options, tuple(doses))
        for step in steps:
            _forget_damaged(step)
        # The run may have been made on another machine; here no more are at work than there are cores.
        workers = min(worker_count(config), os.cpu_count() or 1)
        do_steps(steps, workers, threads_each(config), watching)
        rows = [row for step in steps for row in read_rows(step.folder / LOCALIZATION, Located)]
        write_rows(out / LOCALIZATION, Located, rows)
    return rows


def _forget_damaged(step: Step) -> None:
    """Have a step done again whose rows were lost or damaged since."""
    if done_record(step.folder) is None:
        return
    try:
        read_rows(step.folder / LOCALIZATION, Located)
    except DataError:
        (step.folder / MARKER).unlink(missing_ok=True)


def _require_finished(out: Path) -> None:
    if not out.is_dir():
        raise RunStateError(f"{out}: no such run directory. `mithridate run --out {out}` makes one")
    if not (out / STUDY).is_file():
        raise RunStateError(f"{out}: holds no run; name the folder that `mithridate run` wrote to")
    if not (out / MEASUREMENTS).is_file():
        raise RunStateError(
            f"{out}: the run is not finished; `mithridate run {out / STUDY} --out {out}` goes on where it "
            "stopped"
        )
