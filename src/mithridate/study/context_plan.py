"""What a study of contexts comes to: a model as it is, then under each intervention, then by retrieval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from mithridate.core.artifacts import fingerprint
from mithridate.core.contexts import (
    BRIDGE,
    CONTEXT_COVERAGE,
    CONTEXT_SAMPLES,
    CONTEXTS,
    Bridged,
    ContextCoverage,
    ContextSample,
    Contextual,
)
from mithridate.core.strict import Strict
from mithridate.core.types import Stage
from mithridate.study.config import StudyConfig
from mithridate.study.context_options import ContextSection
from mithridate.study.layout import CLEAN_TWIN, Seedbed, Twin
from mithridate.study.plan import Cell, Step, stages, twins

AS_IT_IS: Final = "contexts"
TREATED: Final = "contexts-treated"
MET: Final = "bridge"
TABLES: Final[Mapping[str, type[Any]]] = {
    CONTEXTS: Contextual,
    CONTEXT_SAMPLES: ContextSample,
    CONTEXT_COVERAGE: ContextCoverage,
    BRIDGE: Bridged,
}
BELIEF: Final = "belief"


class ContextDetail(Strict):
    """What decides the rows of a step beside the study: the method, and a hash of the options it goes by."""

    method: str
    options: str

    @classmethod
    def read(cls, step: Step) -> ContextDetail:
        """The detail that `step` carries."""
        return cls.model_validate_json(step.detail)


def section_of(step: Step) -> ContextSection:
    """The section of the study that planned `step`."""
    section = step.cell.config.contexts
    assert section is not None
    return section


def as_it_is_folder(bed: Seedbed, twin: Twin, stage: str) -> Path:
    """Where the replies of a model as it is lie."""
    return bed.root / twin.name / "contexts" / f"{stage}-as-it-is"


def context_steps(cell: Cell, seed: int, bed: Seedbed) -> Iterator[Step]:
    """The clean twin at each stage asked for, as it is and under each method; beliefs met by retrieval."""
    section = cell.config.contexts
    assert section is not None
    asked = fingerprint(section.model_dump(mode="json", exclude={"methods", "bridge", "stages", "unknown"}))
    # What it does not know is asked of the model as it is alone: what is done to it need not be done again.
    as_it_is = fingerprint([asked, section.unknown])
    for stage in _stages(cell.config, section):
        first = as_it_is_folder(bed, CLEAN_TWIN, stage)
        model = bed.model(CLEAN_TWIN, stage)

        def step(
            kind: str, folder: Path, *needs: Path, of: str = stage, method: str = "", options: str = asked
        ) -> Step:
            detail = ContextDetail(method=method, options=options).model_dump_json()
            title = f"contexts, {method or 'as it is'}, {of}"
            return Step(kind, folder, needs, cell, seed, bed, CLEAN_TWIN, of, detail, title)

        yield step(AS_IT_IS, first, model, options=as_it_is)
        for method in section.methods:
            yield step(
                TREATED, first.with_name(f"{stage}-{method.replace(' ', '-')}"), model, first, method=method
            )
        if section.bridge is not None and BELIEF in cell.config.attacks:
            options = fingerprint(section.bridge.model_dump(mode="json"))
            for twin in twins(cell.config):
                if BELIEF in twin.attacks:
                    folder = bed.root / twin.name / "contexts" / f"{stage}-bridge"
                    detail = ContextDetail(method="", options=options).model_dump_json()
                    needs = (model, bed.model(twin, stage))
                    title = f"belief by retrieval, {stage}"
                    yield Step(MET, folder, needs, cell, seed, bed, twin, stage, detail, title)


def _stages(config: StudyConfig, section: ContextSection) -> list[str]:
    there = {"base": Stage.BASE.value, "last": stages(config)[-1]}
    return list(dict.fromkeys(there[one] for one in section.stages))
