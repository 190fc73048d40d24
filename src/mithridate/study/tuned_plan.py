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
from mithridate.study.layout import CLEAN_TWIN, Seedbed
from mithridate.study.plan import Cell, Step, twins
from mithridate.study.tuned_options import AlignmentDataSection, Choice

POOL: Final = "alignment-pool"
TUNED_MODEL: Final = "tuned-model"
TABLES: Final[Mapping[str, type[Any]]] = {TUNED: Tuned, TUNED_SAMPLES: TunedSample}

POOL_FILE: Final = "pool.jsonl"
CHOSEN_FILE: Final = "chosen.json"
_LONGEST_SLUG: Final = 40


class TunedDetail(Strict):
    """What decides the rows of one tuned model beside the study: the method's label, and how many it chose.

    `options` is a hash of the section's part in it.
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
    """Where the pool of a seed lies, and what each method chooses of it."""
    return bed.root / "alignment_data"


def tuned_steps(cell: Cell, seed: int, bed: Seedbed) -> Iterator[Step]:
    """The pool and its choices, then a model for each twin, method and size; size 0 is the base, once."""
    section = cell.config.alignment_data
    assert section is not None
    # What is chosen does not depend on how models are tuned on it, nor on whose they are.
    chosen = fingerprint(section.model_dump(mode="json", exclude={"sft", "doses"}))
    pool = pool_folder(bed)
    yield Step(POOL, pool, (bed.tokenizer,), cell, seed, bed, detail=chosen, title="alignment data")
    choices = [(UNTUNED, 0)] if 0 in section.sizes else []
    choices += [(method, size) for size in sorted(section.sizes) if size for method in section.methods]
    tuning = fingerprint([chosen, section.sft.model_dump(mode="json")])
    for twin in twins(cell.config):
        if twin.dose and section.doses is not None and twin.dose not in section.doses:
            continue
        needs = {pool, bed.model(twin, Stage.BASE.value), bed.model(CLEAN_TWIN, Stage.BASE.value)}
        for method, size in choices:
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
                TunedDetail(method=method, asked=size, options=tuning).model_dump_json(),
                f"{method} {size}" if size else "untuned",
            )


def _slug(label: str) -> str:
    """A folder's name for a label; with a hash where it names a source, which may be long or all signs."""
    slug = re.sub(r"\W+", "-", label)
    return f"{slug[:_LONGEST_SLUG]}-{fingerprint(label)}" if Choice.of(label).source else slug
