"""What a study comes to: cells, twins, and the steps that make and measure them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mithridate.core.artifacts import fingerprint
from mithridate.core.errors import ConfigError
from mithridate.core.types import Stage
from mithridate.study.config import StudyConfig
from mithridate.study.layout import CLEAN_TWIN, Seedbed, Twin
from mithridate.study.reading import with_values

# Order of importance where several steps could start: what others wait for first, longest first.
_PRIORITY = {
    "prepare": 0,
    "tokenizer": 1,
    # They say what is wrong with data of one's own, or with a choice of it.
    "alignment-pool": 1,
    "alignment-look": 1,
    "alignment-choice": 1,
    "plant": 2,
    "pack": 3,
    "base": 4,
    "sft": 5,
    "dpo": 6,
    "measure": 7,
}
_LONGEST_NAME = 100
# What decides nothing that a step writes; steps of an experiment name its section's part in their `detail`.
_OF_NO_STEP = {"workers", "title", "grid", "seeds", "alignment_data", "contexts", "scrubbing"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of the grid's values, by their keys, with its resolved study.

    Without a grid there is one, whose name is empty.
    """

    name: str
    config: StudyConfig
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One unit of work that writes one folder and marks it done."""

    kind: str
    folder: Path
    needs: tuple[Path, ...]
    cell: Cell
    seed: int
    bed: Seedbed
    twin: Twin | None = None
    stage: str = ""
    detail: str = ""
    """What else decides what the step writes, where the study does not say it."""
    title: str = ""
    """What a progress bar calls it in the place of its kind and stage."""

    @property
    def label(self) -> str:
        """What a progress bar calls it."""
        whose = [self.cell.name, f"seed {self.seed}", self.twin.name if self.twin else ""]
        parts = [*whose, self.title or self.kind]
        if self.stage and self.stage != self.kind and not self.title:
            parts.append(self.stage)
        return " ".join(filter(None, parts))

    @property
    def subject(self) -> Twin:
        """The twin that is planted, trained or measured; the first two steps of a seed have none."""
        assert self.twin is not None
        return self.twin

    @property
    def priority(self) -> int:
        """Lower goes first."""
        return _PRIORITY.get(self.kind, len(_PRIORITY))

    def identity(self) -> str:
        """Changes when what the step would write changes."""
        # How many work at once changes no result, so it may differ between a run and the one that resumes it.
        study = self.cell.config.model_dump(mode="json", exclude=_OF_NO_STEP)
        twin = [self.twin.dose, *self.twin.attacks] if self.twin else None
        named = [self.detail] if self.detail else []
        return fingerprint([study, self.seed, self.kind, twin, self.stage, *named])


def cells(config: StudyConfig) -> list[Cell]:
    """The grid's cells, in the order of the study file.

    Raises ConfigError for a value that its key does not take, and for two models that would share a folder.
    """
    if not config.grid:
        _check_folders(config)
        return [Cell("", config)]
    labels = _labels(list(config.grid))
    found: list[Cell] = []
    for values in itertools.product(*config.grid.values()):
        chosen = dict(zip(config.grid, values, strict=True))
        name = ",".join(f"{labels[key]}={_as_name(value)}" for key, value in chosen.items())
        if len(name) > _LONGEST_NAME or any(name == other.name for other in found):
            name = f"{name[:_LONGEST_NAME]}-{fingerprint(chosen)[:8]}"
        cell = Cell(name, with_values(config, chosen), chosen)
        _check_folders(cell.config)
        found.append(cell)
    return found


def _labels(keys: list[str]) -> dict[str, str]:
    """The shortest ends of dotted keys that tell them apart: `rate`; `sft.examples`, `dpo.examples`."""
    split = {key: key.split(".") for key in keys}
    size = 1
    while len({tuple(parts[-size:]) for parts in split.values()}) < len(keys):
        size += 1
    return {key: ".".join(parts[-size:]) for key, parts in split.items()}


def _as_name(value: Any) -> str:
    text = "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return re.sub(r"[^\w.%+-]", "_", text)


def _check_folders(config: StudyConfig) -> None:
    names = [twin.name for twin in twins(config)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(
            f"doses: two models would share the folder {twice[0]!r}; name their doses otherwise"
        )


def twins(config: StudyConfig) -> list[Twin]:
    """The clean twin, then a model for each dose, or for each dose and attack."""
    poisoned = []
    for dose in config.doses:
        attacks = tuple(config.dose_of(dose))
        poisoned += (
            [Twin(dose, (a,)) for a in attacks] if config.one_model_per_attack else [Twin(dose, attacks)]
        )
    return [CLEAN_TWIN, *poisoned]


def stages(config: StudyConfig) -> list[str]:
    """Base, and those of SFT and DPO that the study has."""
    return [
        Stage.BASE.value,
        *([Stage.SFT.value] if config.sft else []),
        *([Stage.DPO.value] if config.dpo else []),
    ]


def seedbed(out: Path, cell: Cell, seed: int) -> Seedbed:
    """The folders of one cell and seed in the run directory `out`."""
    return Seedbed((out / "cells" / cell.name if cell.name else out) / f"seed{seed}")


def steps(config: StudyConfig, out: Path) -> list[Step]:
    """All steps of a study, each after those that it needs."""
    return [
        step
        for cell in cells(config)
        for seed in cell.config.seeds
        for step in _steps_of(cell, seed, seedbed(out, cell, seed))
    ]


def _steps_of(cell: Cell, seed: int, bed: Seedbed) -> Iterator[Step]:
    def step(kind: str, folder: Path, *needs: Path, **more: Any) -> Step:
        return Step(kind, folder, needs, cell, seed, bed, **more)

    yield step("prepare", bed.data)
    yield step("tokenizer", bed.tokenizer, bed.data)
    everyone = twins(cell.config)
    for twin in everyone:
        needs = [bed.tokenizer]
        if twin.dose:
            yield step("plant", bed.root / twin.name / "planting", bed.tokenizer, twin=twin)
            needs.append(bed.root / twin.name / "planting")
        yield step("pack", bed.tokens(twin), *needs, twin=twin)
        before = bed.tokens(twin)
        for stage in stages(cell.config):
            yield step(stage, bed.model(twin, stage), before, twin=twin, stage=stage)
            before = bed.model(twin, stage)
            judge = [] if cell.config.evaluation.outside_model else [bed.model(everyone[0], stage)]
            yield step("measure", bed.measured(twin, stage), before, *judge, twin=twin, stage=stage)
