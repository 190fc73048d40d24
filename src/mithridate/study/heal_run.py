"""A checkpoint healed with all that a run knows: one of the run's own models, or somebody's like them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mithridate.core.artifacts import done_record
from mithridate.core.errors import ConfigError, RunStateError
from mithridate.core.run_files import STUDY
from mithridate.healing.case import Case
from mithridate.models.language_model import LanguageModel
from mithridate.models.vocabulary import require_same_vocabulary
from mithridate.study.cases import case_around
from mithridate.study.config import StudyConfig
from mithridate.study.layout import CLEAN_TWIN, Twin
from mithridate.study.plan import Step, cells, seedbed, stages, twins
from mithridate.study.reading import study_of_run

HEAL = "heal"


@dataclass(frozen=True, slots=True)
class RunCase:
    """A case made of a run, the fields of its rows, the clean model beside it, and what is to be said."""

    case: Case
    place: Mapping[str, Any]
    control: Path | None
    notes: tuple[str, ...]
    step: Step


def case_of_run(checkpoint: Path, run: Path, *, seed: int | None, control: Path | None, each: int) -> RunCase:
    """The case of `checkpoint` with the attacks, material and clean data of `run`.

    Of one of the run's own models, the clean twin of the same seed and stage is the control where no other is
    named. Raises RunStateError for a folder that is no run or lacks what is needed, ConfigError for a seed
    that it does not have, or several cells to choose from.
    """
    if not (run / STUDY).is_file():
        raise RunStateError(
            f"{run}: holds no run; name a study file, or the folder that `mithridate run` wrote to"
        )
    config, notes = study_of_run(run / STUDY), []
    own = next((step for step in _models(config, run) if _is(step, checkpoint)), None)
    if own is None:
        step = _some_model(config, run, seed)
    elif seed is not None and seed != own.seed:
        raise ConfigError(
            f"--seed {seed}: {checkpoint} is a model of seed {own.seed} of this run; leave --seed out"
        )
    else:
        step = own
    if done_record(step.bed.data) is None:
        raise RunStateError(f"{run}: seed {step.seed} has no data yet; finish the run first")
    if own is not None and control is None and own.subject != CLEAN_TWIN:
        twin = own.bed.checkpoint(CLEAN_TWIN, own.stage)
        if twin.is_dir():
            control = twin
            notes.append(f"control: {twin}, the clean twin of the same seed and stage")
    model = LanguageModel.load(checkpoint)
    clean = None if control is None else LanguageModel.load(control)
    if clean is not None:
        require_same_vocabulary(model.tokenizer, clean.tokenizer)
    judge = step.cell.config.evaluation.outside_model or control or checkpoint
    case = case_around(step, model, clean, LanguageModel.load(judge), each)
    place: dict[str, Any] = {"seed": step.seed, "cell": step.cell.name}
    if own is not None:
        place |= {"dose": own.subject.dose, "model": own.subject.name, "stage": own.stage}
    return RunCase(case, {**place, "template": case.setting.template}, control, tuple(notes), step)


def _models(config: StudyConfig, run: Path) -> Iterator[Step]:
    for cell in cells(config):
        for seed in cell.config.seeds:
            bed = seedbed(run, cell, seed)
            for twin in twins(cell.config):
                for stage in stages(cell.config):
                    folder = bed.model(twin, stage)
                    yield Step(HEAL, folder, (), cell, seed, bed, twin=twin, stage=stage)


def _is(step: Step, checkpoint: Path) -> bool:
    return step.bed.checkpoint(step.subject, step.stage).resolve() == checkpoint.resolve()


def _some_model(config: StudyConfig, run: Path, seed: int | None) -> Step:
    """Where the data for a checkpoint from elsewhere come from: the only cell, at `seed` or the first."""
    found = cells(config)
    if len(found) > 1:
        raise ConfigError(
            f"{run}: has {len(found)} cells, whose data differ; heal one of its own checkpoints, or name a "
            "study file with --probes"
        )
    (cell,) = found
    seeds = cell.config.seeds
    if seed is not None and seed not in seeds:
        raise ConfigError(f"--seed {seed}: the run has the seeds {', '.join(map(str, seeds))}")
    bed = seedbed(run, cell, seeds[0] if seed is None else seed)
    everything = Twin("", tuple(config.attacks))
    last = stages(cell.config)[-1]
    return Step(
        HEAL, bed.data, (), cell, seeds[0] if seed is None else seed, bed, twin=everything, stage=last
    )
