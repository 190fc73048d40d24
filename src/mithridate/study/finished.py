"""Experiments on the models of a finished run: as steps that resume, their rows in one table."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mithridate.core.artifacts import MARKER, done_record, exclusive
from mithridate.core.errors import DataError, RunStateError
from mithridate.core.run_files import MEASUREMENTS, PLANTING, STUDY, PlantingRow
from mithridate.core.tables import read_rows, write_rows
from mithridate.core.types import Stage
from mithridate.study.config import StudyConfig
from mithridate.study.layout import CLEAN_TWIN
from mithridate.study.plan import Step, stages
from mithridate.study.reading import study_of_run
from mithridate.study.runner import Watching, do_steps, is_done, sweep_partial, threads_each, worker_count

Row = TypeVar("Row")


def gathered(
    out: Path,
    plan: Callable[[StudyConfig], list[Step]],
    row_type: type[Row],
    table: str,
    watching: Watching,
    beside: Mapping[str, type[Any]] | None = None,
    before: Callable[[StudyConfig], list[Step]] | None = None,
) -> list[Row]:
    """Do what is left of the steps that `plan` makes for the run in `out`; returns and keeps their rows.

    Each step writes `table` in its folder, with rows of `row_type`; the run's own `table` holds all of them.
    `beside` are further tables, with the types of their rows, that some steps write. Of the steps that
    `before` makes, those that are done already keep their rows too, and no others are done.
    Raises RunStateError where there is no finished run or another process works on it, and whatever `plan` or
    a step raises; the same call goes on where it stopped.
    """
    _require_finished(out)
    config = study_of_run(out / STUDY)
    with exclusive(out):
        sweep_partial(out)
        steps = plan(config)
        for step in steps:
            _forget_damaged(step, {table: row_type, **(beside or {})})
        # The run may have been made on another machine; here no more are at work than there are cores.
        workers = min(worker_count(config), os.cpu_count() or 1)
        do_steps(steps, workers, threads_each(config), watching)
        told = steps if before is None else [step for step in before(config) if is_done(step)]
        rows = [row for step in told for row in _rows_of(step, row_type, table)]
        write_rows(out / table, row_type, rows)
        for other, other_type in (beside or {}).items():
            found = [row for step in told for row in _rows_of(step, other_type, other)]
            write_rows(out / other, other_type, found)
    return rows


def largest_dose(config: StudyConfig, out: Path) -> str:
    """The dose that planted most tokens: where there is most to look into."""
    planted: dict[str, int] = dict.fromkeys(config.doses, 0)
    for row in read_rows(out / PLANTING, PlantingRow):
        planted[row.dose] = planted.get(row.dose, 0) + row.tokens
    return max(planted, key=lambda dose: planted[dose])


def require_models(step: Step, out: Path) -> None:
    """Raise RunStateError unless the step's twin and the clean one are there, at the base and last stage."""
    for twin in (CLEAN_TWIN, step.subject):
        for stage in (Stage.BASE.value, stages(step.cell.config)[-1]):
            if done_record(step.bed.model(twin, stage)) is None:
                raise RunStateError(
                    f"{out}: the model {twin.name} of seed {step.seed} at the stage {stage} is not there; "
                    f"`mithridate run {out / 'study.yaml'} --out {out}` goes on where the run stopped"
                )


def _rows_of(step: Step, row_type: type[Any], table: str) -> list[Any]:
    """A step that prepares others, such as one that trains a model, has no rows."""
    path = step.folder / table
    return read_rows(path, row_type) if path.exists() else []


def _forget_damaged(step: Step, tables: Mapping[str, type[Any]]) -> None:
    """Have a step done again whose rows were lost or damaged since; the first of `tables` it must have."""
    record = done_record(step.folder)
    if record is None or "rows" not in record:
        return
    try:
        for number, (table, row_type) in enumerate(tables.items()):
            if number == 0 or (step.folder / table).exists():
                read_rows(step.folder / table, row_type)
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
