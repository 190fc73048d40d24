"""What localisation does in a finished run: which experiments, on which models, as steps like any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from mithridate.core.errors import ConfigError
from mithridate.core.located import LOCATED
from mithridate.core.strict import Strict
from mithridate.core.types import Stage
from mithridate.study.config import StudyConfig
from mithridate.study.finished import largest_dose, require_models
from mithridate.study.layout import Twin
from mithridate.study.plan import Cell, Step, cells, seedbed, stages, twins

WEIGHTS = "locate-weights"
ALIGNMENT = "locate-alignment"
POISON = "locate-poison"
PROMPTS = "locate-prompts"
KINDS = (ALIGNMENT, POISON, PROMPTS, WEIGHTS)


class LocateOptions(Strict):
    """How closely is looked."""

    probes: int = Field(40, ge=4, le=10_000)
    """Probes of each attack with its trigger, and as many without; questions and requests of each kind."""


class LocateDetail(LocateOptions):
    """What decides the rows of a step of localisation beside the study."""

    second_seed: int | None
    """Another seed of the study, whose clean model is a control; None where there is one seed alone."""

    @classmethod
    def read(cls, step: Step) -> LocateDetail:
        """The detail that `step` carries."""
        return cls.model_validate_json(step.detail)


def locate_steps(
    config: StudyConfig, out: Path, options: LocateOptions, doses: tuple[str, ...] = ()
) -> list[Step]:
    """The steps that look into the models of the run in `out` that were given one of `doses`.

    By default those of the dose that planted most. Raises ConfigError for a dose that the study does not
    have, and for a study without alignment; RunStateError where a model is not there yet.
    """
    if strange := [dose for dose in doses if dose not in config.doses]:
        raise ConfigError(
            f"--dose: the study has no dose {strange[0]!r}; it has {', '.join(map(repr, config.doses))}"
        )
    if len(stages(config)) < 2:
        raise ConfigError(
            "the study neither tunes on instructions nor on preferences, so there is no alignment to locate: "
            "give it a section `sft`"
        )
    chosen = doses or (largest_dose(config, out),)
    found = [
        step
        for cell in cells(config)
        for seed in cell.config.seeds
        for twin in twins(cell.config)
        if twin.dose in chosen
        for step in _steps_of(cell, seed, out, twin, options)
    ]
    for step in found:
        require_models(step, out)
    return found


def _steps_of(cell: Cell, seed: int, out: Path, twin: Twin, options: LocateOptions) -> Iterator[Step]:
    bed = seedbed(out, cell, seed)
    seeds = cell.config.seeds
    other = seeds[(seeds.index(seed) + 1) % len(seeds)]
    detail = LocateDetail(**options.model_dump(), second_seed=other if other != seed else None)
    last = stages(cell.config)[-1]
    for kind, stage in (
        (ALIGNMENT, last),
        (POISON, Stage.BASE.value),
        (POISON, last),
        (PROMPTS, Stage.BASE.value),
        (WEIGHTS, last),
    ):
        name = f"{kind.removeprefix('locate-')}-{stage}"
        folder = bed.root / twin.name / LOCATED / name
        yield Step(kind, folder, (), cell, seed, bed, twin=twin, stage=stage, detail=detail.model_dump_json())
