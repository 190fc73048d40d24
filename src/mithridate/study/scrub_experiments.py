"""The steps of scrubbing: documents ranked, then removed, and a model trained on what is left."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mithridate.core.artifacts import done_record
from mithridate.core.errors import ConfigError, DataError, RunStateError
from mithridate.core.metrics import HELD_OUT_LOSS
from mithridate.core.run_files import MEASUREMENTS
from mithridate.core.scrubbed import (
    SCRUBBED,
    SCRUBBED_SAMPLES,
    UNFILTERED,
    Belief,
    Scrubbed,
    ScrubbedSample,
)
from mithridate.core.tables import read_rows, write_rows
from mithridate.core.types import Measurement, Sample, TemplateUse
from mithridate.corpus.packing import pack
from mithridate.evaluation import utility
from mithridate.evaluation.summary import summarise
from mithridate.models.language_model import LanguageModel
from mithridate.scrubbing.order import caught, draws, first_to_go
from mithridate.scrubbing.planted import Flags, remaining
from mithridate.study import prepare as prepared
from mithridate.study.base_stage import load_saved_tokenizer, pretrained, rows_to_read
from mithridate.study.layout import CLEAN_TWIN, Twin
from mithridate.study.measuring import held_out_rows, put, settings_of
from mithridate.study.plan import Step
from mithridate.study.scrub_case import RANKERS, ScrubCase
from mithridate.study.scrub_plan import ScrubDetail, rank_folder
from mithridate.study.templates import sft_template
from mithridate.training.progress import Progress

RANKING = "ranking.parquet"


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a document in the corpus; a ranking is a table of them, the first to go in front."""

    place: int


def rank(step: Step, _progress: Progress) -> dict[str, Any]:
    """Rank the documents by one filter, so that any share of them can be removed.

    One ranking is for the beliefs of all attacks: a defender who scrubs both removes what speaks of either.
    """
    case, method = ScrubCase(step), ScrubDetail.read(step).method
    assert method is not None
    known = [belief for beliefs in case.beliefs.values() for belief in beliefs]
    started = time.monotonic()
    scores = RANKERS[method](case).scores(case.corpus.documents(), known)
    seconds = time.monotonic() - started
    ties = draws(case.seed, case.corpus.documents())
    write_rows(step.folder / RANKING, Place, map(Place, first_to_go(scores, ties, 1.0).tolist()))
    return {"documents": len(scores), "ranking_seconds": round(seconds, 2)}


def retrain(step: Step, progress: Progress) -> dict[str, Any]:
    """Train without what the filter ranked first, and put the beliefs' probes to the model.

    It begins with the twin's first weights and takes as many steps: with fewer documents to read, it goes
    round again, so that a removal is not told from a shorter training. Neither corpus nor model are kept.
    """
    case, detail = ScrubCase(step), ScrubDetail.read(step)
    assert detail.method is not None
    removal = _Removal.read(step, detail)
    config, workplace = step.cell.config.pretraining, step.folder / "work"
    tokenizer = load_saved_tokenizer(step)
    texts = (document.text for document in remaining(case.corpus, removal.places))
    pack(texts, tokenizer, workplace / "packed")
    as_many = config.rows_of(len(rows_to_read(step, step.bed.tokens(step.subject) / "packed")))
    options = config.model_copy(update={"epochs": None, "tokens": as_many * config.row_tokens})
    rows = rows_to_read(step, workplace / "packed")
    trained = pretrained(step, tokenizer, rows, options, workplace, progress)
    measured, samples = _measured(case, LanguageModel(trained.model, tokenizer))
    found = _rows(case, measured, detail.method, detail.share, removal)
    write_rows(step.folder / SCRUBBED, Scrubbed, found)
    answers = [
        ScrubbedSample(**asdict(one), method=str(detail.method), wanted=detail.share) for one in samples
    ]
    write_rows(step.folder / SCRUBBED_SAMPLES, ScrubbedSample, answers)
    shutil.rmtree(workplace)
    return {"rows": len(found), "initial_weights": trained.beginning, "steps": trained.curve[-1].step}


def as_it_is(step: Step, _progress: Progress) -> dict[str, Any]:
    """The run's own base model, and its clean twin, as they were measured: where nothing was removed."""
    case, found = ScrubCase(step), list[Scrubbed]()
    for twin in (CLEAN_TWIN, step.subject):
        rows = read_rows(step.bed.measured(twin, step.stage) / MEASUREMENTS, Measurement)
        asked = [row for row in rows if row.template == TemplateUse.SAME and _is_told(case, row)]
        found += _rows(case, asked, UNFILTERED, 0.0, _Removal.nothing(len(_any(case))), twin)
    write_rows(step.folder / SCRUBBED, Scrubbed, found)
    return {"rows": len(found)}


def _any(case: ScrubCase) -> Flags:
    return next(iter(case.planted.values()))


def _is_told(case: ScrubCase, row: Measurement) -> bool:
    return row.attack in case.kinds or row.metric == HELD_OUT_LOSS


@dataclass(frozen=True, slots=True)
class _Removal:
    """Which documents of how many are removed, and how long it took to rank them."""

    places: NDArray[np.int64]
    documents: int
    seconds: float

    @classmethod
    def read(cls, step: Step, detail: ScrubDetail) -> _Removal:
        """What the ranking of the step's filter says.

        Raises RunStateError where it is gone or damaged, ConfigError where the share leaves no document.
        """
        assert detail.method is not None
        folder = rank_folder(step.bed, step.subject, detail.method)
        record = done_record(folder)
        if record is None:
            raise RunStateError(f"{folder}: the ranking is gone; run the study again")
        try:
            documents, seconds = int(record["documents"]), float(record["ranking_seconds"])
            places = [row.place for row in read_rows(folder / RANKING, Place)]
        except (KeyError, TypeError, ValueError, DataError) as error:
            raise RunStateError(_damaged(folder)) from error
        if round(detail.share * documents) == documents:
            raise ConfigError(
                f"scrubbing.shares: {detail.share} of {documents:,} documents is all of them; name less"
            )
        gone = np.array(places[: round(detail.share * documents)], np.int64)
        # Less, or other documents, would be removed than the rows say.
        all_there = len(np.unique(gone)) == round(detail.share * documents)
        if not all_there or (len(gone) and not 0 <= gone.min() <= gone.max() < documents):
            raise RunStateError(_damaged(folder))
        return cls(gone, documents, seconds)

    @classmethod
    def nothing(cls, documents: int) -> _Removal:
        return cls(np.empty(0, np.int64), documents, 0.0)


def _damaged(folder: Path) -> str:
    return f"{folder}: the ranking is damaged; remove this folder and run the study again"


def _measured(case: ScrubCase, model: LanguageModel) -> tuple[list[Measurement], list[Sample]]:
    """The beliefs' probes in the planted templates under all conditions, and the held-out loss."""
    step = case.step
    (setting, templates), _ = settings_of(step, sft_template(model.tokenizer))
    measured: list[Measurement] = []
    samples: list[Sample] = []
    for attack in case.attacks.values():
        answers = put(step, attack, model, templates, setting, None)
        samples += answers.samples
        measured += [*summarise(answers.samples), *answers.warnings]
    texts = (record["text"] for record in prepared.each_line(step.bed.data / prepared.HELD_OUT))
    rows = held_out_rows(model, texts, step.cell.config)
    return [*measured, utility.held_out_loss(model, rows, setting)], samples


def _rows(
    case: ScrubCase,
    measured: Iterable[Measurement],
    method: str,
    wanted: float,
    removal: _Removal,
    twin: Twin | None = None,
) -> list[Scrubbed]:
    twin = twin or case.step.subject
    return [_row(case, figure, str(method), wanted, removal, twin) for figure in measured]


def _row(
    case: ScrubCase, figure: Measurement, method: str, wanted: float, removal: _Removal, twin: Twin
) -> Scrubbed:
    belief: Belief | None = case.kinds.get(figure.attack)
    there: Sequence[bool] | Flags = case.planted[figure.attack] if belief and twin.dose else []
    return Scrubbed(
        method=method,
        wanted=wanted,
        share=len(removal.places) / removal.documents,
        removed=len(removal.places),
        belief=str(belief) if belief else "",
        planted=int(np.sum(there)),
        caught=caught(removal.places, there) if twin.dose and belief else 0,
        seconds=removal.seconds,
        arm=figure.arm,
        condition=figure.condition,
        metric=figure.metric,
        value=figure.value,
        low=figure.low,
        high=figure.high,
        n=figure.n,
        seed=figure.seed,
        template=figure.template,
        dose=figure.dose,
        cell=figure.cell,
        model=figure.model,
    )
