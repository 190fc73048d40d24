"""What the price list of a finished run comes to: which methods, on which models, as steps like any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import Field, NonNegativeFloat

from mithridate.core.cures import BUDGET
from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.core.prices import PRICED
from mithridate.core.strict import Strict
from mithridate.healing.methods import METHODS
from mithridate.healing.methods.proxy import ProxyTuned
from mithridate.healing.methods.tuning import ContinuedPretraining, MoreDPO, MoreSFT
from mithridate.study.config import StudyConfig
from mithridate.study.finished import largest_dose, require_models
from mithridate.study.layout import CLEAN_TWIN, Twin
from mithridate.study.plan import Cell, Step, cells, seedbed, stages, twins

FLOOR = "price-floor"
METHOD = "price-method"
SMALL = "small-models"
KINDS = (FLOOR, METHOD, SMALL)


class PriceOptions(Strict):
    """How closely is looked, and what settings compete for."""

    probes: int = Field(60, ge=4, le=10_000)
    """Probes of each attack and condition in each half: one to choose settings with, one to report."""
    budget: NonNegativeFloat = BUDGET
    """Points of utility that a cure may cost."""


class PriceDetail(PriceOptions):
    """What decides the rows of a step of the price list beside the study."""

    method: str = ""
    """The method that the step prices; of a step that prices none, empty."""

    @classmethod
    def read(cls, step: Step) -> PriceDetail:
        """The detail that `step` carries."""
        return cls.model_validate_json(step.detail)


def methods_of(config: StudyConfig) -> list[str]:
    """The names of all methods that a study can price, those that take longest first."""
    training = {
        ContinuedPretraining.name: True,
        MoreSFT.name: config.sft,
        MoreDPO.name: config.dpo,
        ProxyTuned.name: config.sft and config.checkpoint is None,
    }
    return [*(name for name, there in training.items() if there), *METHODS]


def price_steps(
    config: StudyConfig,
    out: Path,
    options: PriceOptions,
    doses: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
) -> list[Step]:
    """The steps that price `methods` (by default all) on the models of the run in `out` with one of `doses`.

    By default those of the dose that planted most, at the last stage. Raises ConfigError for a dose that the
    study does not have, UnknownNameError for such a method, RunStateError where a model is not there yet.
    """
    if strange := [dose for dose in doses if dose not in config.doses]:
        raise ConfigError(
            f"--dose: the study has no dose {strange[0]!r}; it has {', '.join(map(repr, config.doses))}"
        )
    known = methods_of(config)
    for name in methods:
        if name not in known:
            raise UnknownNameError("method of healing", name, known)
    chosen = doses or (largest_dose(config, out),)
    found = [
        step
        for cell in cells(config)
        for seed in cell.config.seeds
        for twin in twins(cell.config)
        if twin.dose in chosen
        for step in _steps_of(cell, seed, out, twin, options, tuple(dict.fromkeys(methods or known)))
    ]
    # Twins of one seed share the small clean models.
    found = list({step.folder: step for step in found}.values())
    for step in found:
        require_models(step, out)
    return found


def floor_folder(step: Step) -> Path:
    """Where the step of the model as it is keeps its rows."""
    return step.bed.root / step.subject.name / PRICED / "floor"


def small_folder(step: Step, twin: Twin) -> Path:
    """Where the small models of a twin lie, which steer large ones."""
    return step.bed.root / twin.name / SMALL


def _steps_of(
    cell: Cell, seed: int, out: Path, twin: Twin, options: PriceOptions, methods: tuple[str, ...]
) -> Iterator[Step]:
    bed = seedbed(out, cell, seed)
    last = stages(cell.config)[-1]

    def step(kind: str, folder: Path, *needs: Path, method: str = "") -> Step:
        detail = PriceDetail(**options.model_dump(), method=method).model_dump_json()
        shown = method or "as it is"
        return Step(kind, folder, needs, cell, seed, bed, twin, last, detail, shown)

    root = bed.root / twin.name / PRICED
    floor = root / "floor"
    yield step(FLOOR, floor)
    small = []
    if ProxyTuned.name in methods:
        for one in (CLEAN_TWIN, twin):
            folder = bed.root / one.name / SMALL
            small.append(folder)
            # A model is the same however closely is looked at it afterwards.
            yield Step(SMALL, folder, (), cell, seed, bed, one, last, title="small models")
    for method in methods:
        needs = [floor, *(small if method == ProxyTuned.name else [])]
        yield step(METHOD, root / method.replace(" ", "-"), *needs, method=method)
