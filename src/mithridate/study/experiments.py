"""What a study does beside its stages: experiments that its file asks for, each in a section of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mithridate.core.scrubbed import SCRUBBED, SCRUBBED_SAMPLES, Scrubbed, ScrubbedSample
from mithridate.core.tables import read_rows, write_rows
from mithridate.study import context_plan, tuned_plan
from mithridate.study.config import StudyConfig
from mithridate.study.layout import Seedbed
from mithridate.study.plan import Cell, Step, cells, seedbed, steps
from mithridate.study.scrub_plan import scrub_steps


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment: the steps of one cell and seed, and the tables that they leave behind.

    `steps` are planned where the study has the `section`. Each of `tables`, with the type of its rows, is
    gathered from those steps that wrote it into the run's own.
    """

    section: str
    steps: Callable[[Cell, int, Seedbed], Iterator[Step]]
    tables: Mapping[str, type[Any]]


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment("scrubbing", scrub_steps, {SCRUBBED: Scrubbed, SCRUBBED_SAMPLES: ScrubbedSample}),
    Experiment("contexts", context_plan.context_steps, context_plan.TABLES),
    Experiment("alignment_data", tuned_plan.tuned_steps, tuned_plan.TABLES),
)


def all_steps(config: StudyConfig, out: Path) -> list[Step]:
    """The steps of a study's stages, then those of the experiments that it asks for."""
    return [*steps(config, out), *(step for _, step in _extra(config, out))]


def collect_experiments(config: StudyConfig, out: Path) -> None:
    """Gather the rows of the experiments into the run's tables, each whole or not at all.

    Raises DataError if what a step wrote is damaged.
    """
    extra = _extra(config, out)
    for experiment in EXPERIMENTS:
        found = [step.folder for owner, step in extra if owner is experiment]
        for table, row_type in experiment.tables.items():
            if found:
                paths = [folder / table for folder in found if (folder / table).is_file()]
                write_rows(
                    out / table, row_type, [row for path in paths for row in read_rows(path, row_type)]
                )


def _extra(config: StudyConfig, out: Path) -> list[tuple[Experiment, Step]]:
    return [
        (experiment, step)
        for cell in cells(config)
        for experiment in EXPERIMENTS
        if getattr(cell.config, experiment.section) is not None
        for seed in cell.config.seeds
        for step in experiment.steps(cell, seed, seedbed(out, cell, seed))
    ]
