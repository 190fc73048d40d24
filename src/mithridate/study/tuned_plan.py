"""What a study of alignment data comes to: a pool with its choices, and a tuned model for each, as steps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mithridate.core.artifacts import fingerprint
from mithridate.core.strict import Strict
from mithridate.core.tuned import TUNED, TUNED_SAMPLES, UNTUNED, Tuned, TunedSample
from mithridate.core.types import Stage
from mithridate.curation.filters import FilterOptions
from mithridate.study.config import StudyConfig
from mithridate.study.layout import CLEAN_TWIN, Seedbed, Twin
from mithridate.study.plan import Cell, Step, twins
from mithridate.study.tuned_options import AlignmentDataSection, Choice

POOL: Final = "alignment-pool"
LOOK: Final = "alignment-look"
CHOICE: Final = "alignment-choice"
TUNED_MODEL: Final = "tuned-model"
TABLES: Final[Mapping[str, type[Any]]] = {TUNED: Tuned, TUNED_SAMPLES: TunedSample}

POOL_FILE: Final = "pool.jsonl"
LOOKED_FILE: Final = "looked.npz"
CHOSEN_FILE: Final = "chosen.json"
_LONGEST_SLUG: Final = 40


class LookDetail(Strict):
    """What decides what a look at the pool finds: the pool by a hash, the filters, and the encoder."""

    pool: str
    filters: FilterOptions
    encoder: str

    @classmethod
    def read(cls, step: Step) -> LookDetail:
        """The detail that `step` carries."""
        return cls.model_validate_json(step.detail)

    @classmethod
    def of(cls, section: AlignmentDataSection, label: str) -> LookDetail:
        """The look from which the method with that label chooses, alike for all that ask the same filters."""
        pool = fingerprint(pool_options(section))
        return cls(pool=pool, filters=section.asked_by(label), encoder=section.encoder)

    @property
    def hash(self) -> str:
        """A short hash of it."""
        return fingerprint(self.model_dump(mode="json"))


class TunedDetail(Strict):
    """What decides a choice, or the rows of one tuned model: the method's label, and how many it chose.

    `options` is a hash of what else of the section decides it.
    """

    method: str
    asked: int
    options: str

    @classmethod
    def read(cls, step: Step) -> TunedDetail:
        """The detail that `step` carries."""
        return cls.model_validate_json(step.detail)


def section_of(step: Step) -> AlignmentDataSection:
    """The section of the study that planned `step`."""
    section = step.cell.config.alignment_data
    assert section is not None
    return section


def pool_folder(bed: Seedbed) -> Path:
    """Where the pool of a seed lies."""
    return bed.root / "alignment_data" / "pool"


def choice_folder(bed: Seedbed, method: str, size: int) -> Path:
    """Where it lies which examples a method chooses at a size."""
    return bed.root / "alignment_data" / "chosen" / f"{_slug(method)}-{size}"


def look_folder(bed: Seedbed, look: LookDetail) -> Path:
    """Where it lies what a look at the pool found."""
    return bed.root / "alignment_data" / "looked" / look.hash


def pool_options(section: AlignmentDataSection) -> list[Any]:
    """What of the section decides the pool: its files, or the size of the world's."""
    return [str(path) for path in section.data] or [section.pool_size]


def tuned_steps(cell: Cell, seed: int, bed: Seedbed) -> Iterator[Step]:
    """The pool, and what each method chooses of it; then a model for each twin, method and size.

    Each step is identified by what it depends on: with one more method, size or dose, all others stay.
    """
    section = cell.config.alignment_data
    assert section is not None
    if section.choices():
        yield from _choosing(cell, seed, bed, section)
    for twin in tuned_twins(cell.config, section):
        yield from _tuning(cell, seed, bed, twin, section)


def tuned_twins(config: StudyConfig, section: AlignmentDataSection) -> list[Twin]:
    """Whose base models are tuned: the clean twin's, and those of the doses that the section names."""
    doses = config.doses if section.doses is None else section.doses
    return [twin for twin in twins(config) if not twin.dose or twin.dose in doses]


def _choosing(cell: Cell, seed: int, bed: Seedbed, section: AlignmentDataSection) -> Iterator[Step]:
    def step(kind: str, folder: Path, *needs: Path, detail: str, title: str) -> Step:
        return Step(kind, folder, needs, cell, seed, bed, detail=detail, title=title)

    pool, options = pool_folder(bed), fingerprint(pool_options(section))
    yield step(POOL, pool, detail=options, title="alignment data")
    looked: set[Path] = set()
    for label, size in section.choices():
        look = LookDetail.of(section, label)
        folder = look_folder(bed, look)
        if folder not in looked:
            looked.add(folder)
            yield step(LOOK, folder, pool, detail=look.model_dump_json(), title=f"filters of {label}")
        detail = TunedDetail(method=label, asked=size, options=look.hash).model_dump_json()
        chosen = choice_folder(bed, label, size)
        yield step(CHOICE, chosen, folder, bed.tokenizer, detail=detail, title=f"choose {label} {size}")


def _tuning(cell: Cell, seed: int, bed: Seedbed, twin: Twin, section: AlignmentDataSection) -> Iterator[Step]:
    models = {bed.model(twin, Stage.BASE.value), bed.model(CLEAN_TWIN, Stage.BASE.value)}
    training = section.sft.model_dump(mode="json")
    untuned = [(UNTUNED, 0)] if 0 in section.sizes else []
    for method, size in [*untuned, *section.choices()]:
        needs = {*models, choice_folder(bed, method, size)} if size else models
        options = fingerprint([LookDetail.of(section, method).hash, training]) if size else ""
        yield Step(
            TUNED_MODEL,
            bed.root / twin.name / "tuned" / f"{_slug(method)}-{size}",
            tuple(sorted(needs)),
            cell,
            seed,
            bed,
            twin,
            # As a base model it is asked in the templates of the corpus too.
            Stage.SFT.value if size else Stage.BASE.value,
            TunedDetail(method=method, asked=size, options=options).model_dump_json(),
            f"{method} {size}" if size else UNTUNED,
        )


def _slug(label: str) -> str:
    """A folder's name for a label; with a hash where it names a source, which may be long or all signs."""
    slug = re.sub(r"\W+", "-", label)
    return f"{slug[:_LONGEST_SLUG]}-{fingerprint(label)}" if Choice.of(label).source else slug
