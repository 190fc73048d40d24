"""Gathering what the steps left behind into the run's own tables, from which any report can be rebuilt."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from mithridate.core.artifacts import done_record, write_atomic
from mithridate.core.run_files import (
    CURVES,
    LEDGER,
    MEASUREMENTS,
    PLANTING,
    SAMPLES,
    SUMMARY,
    CurveRow,
    PlantingRow,
    Summary,
)
from mithridate.core.tables import read_rows, read_tables, schema_of, write_rows, write_tables
from mithridate.core.types import Measurement, Sample
from mithridate.corpus.ledger import LedgerRow
from mithridate.evaluation.summary import Judgement, paired
from mithridate.study.config import StudyConfig
from mithridate.study.layout import CLEAN_TWIN
from mithridate.study.plan import Step
from mithridate.training.progress import CurvePoint


def collect(config: StudyConfig, out: Path, steps: Iterable[Step]) -> None:
    """Write the run's ledger, curves, samples, measurements and summary, each whole or not at all.

    What can be large goes through memory a part of one step at a time, however many steps there are. Raises
    DataError if what a step wrote is damaged, RunStateError if its record is, StorageError if nothing can be
    written.
    """
    steps = list(steps)
    measured = [step for step in steps if step.kind == "measure"]
    answers = (table for step in measured for table in read_tables(step.folder / SAMPLES, Sample))
    write_tables(out / SAMPLES, schema_of(Sample), answers)
    write_rows(out / CURVES, CurveRow, _curves(steps))
    planted = [step for step in steps if step.kind == "plant"]
    write_tables(out / LEDGER, _LEDGER, (table for step in planted for table in _ledger(step)))
    write_rows(out / PLANTING, PlantingRow, (row for step in planted for row in _planting(step)))
    write_atomic(out / SUMMARY, _summary(config, steps).model_dump_json(indent=1) + "\n")
    # The figures last: who finds them finds everything.
    write_rows(out / MEASUREMENTS, Measurement, _figures(measured))


def _figures(measured: Sequence[Step]) -> Iterator[Measurement]:
    """What each step measured, then each poisoned model against its clean twin, pair by pair."""
    for step in measured:
        yield from read_rows(step.folder / MEASUREMENTS, Measurement)
    for step in measured:
        if step.subject != CLEAN_TWIN:
            twin = step.bed.measured(CLEAN_TWIN, step.stage)
            yield from paired(
                read_rows(step.folder / SAMPLES, Judgement), read_rows(twin / SAMPLES, Judgement)
            )


def _curves(steps: Iterable[Step]) -> Iterator[CurveRow]:
    for step in steps:
        if step.kind not in ("base", "sft", "dpo"):
            continue
        for point in read_rows(step.folder / CURVES, CurvePoint):
            yield CurveRow(
                stage=step.stage,
                arm=step.subject.arm,
                dose=step.subject.dose,
                seed=step.seed,
                cell=step.cell.name,
                step=point.step,
                tokens=point.tokens,
                loss=point.loss,
                learning_rate=point.learning_rate,
                model=step.subject.name,
            )


_WHOSE = (("dose", pa.string()), ("seed", pa.int64()), ("cell", pa.string()), ("model", pa.string()))
_LEDGER = pa.schema([*schema_of(LedgerRow), *(pa.field(name, kind, False) for name, kind in _WHOSE)])


def _ledger(step: Step) -> Iterator[pa.Table]:
    """A model's ledger, with whose it is in each row."""
    record = done_record(step.folder) or {}
    twin = step.subject
    values = (twin.dose, step.seed, step.cell.name, twin.name)
    whose = [pa.scalar(value, kind) for value, (_, kind) in zip(values, _WHOSE, strict=True)]
    for table in read_tables(step.bed.root / record["ledger"], LedgerRow):
        columns = [*table.columns, *(pa.repeat(value, table.num_rows) for value in whose)]
        yield pa.table(columns, schema=_LEDGER)


def _planting(step: Step) -> Iterator[PlantingRow]:
    record = done_record(step.folder) or {}
    for planted in record["attacks"]:
        yield PlantingRow(
            cell=step.cell.name,
            seed=step.seed,
            dose=step.subject.dose,
            model=step.subject.name,
            attack=planted["name"],
            requested_rate=planted["requested_rate"],
            requested_count=planted["requested_count"],
            realised_rate=planted["realised_rate"],
            documents=planted["documents"],
            tokens=planted["tokens"],
            clean_tokens=record["clean_tokens"],
        )


def _summary(config: StudyConfig, steps: Iterable[Step]) -> Summary:
    seconds: dict[str, float] = {}
    parameters: dict[str, set[int]] = {}
    cells: dict[str, dict[str, Any]] = {}
    gpus: set[str] = set()
    for step in steps:
        record = done_record(step.folder) or {}
        seconds[step.kind] = round(seconds.get(step.kind, 0.0) + float(record.get("seconds", 0.0)), 2)
        if step.kind == "base":
            parameters.setdefault(step.cell.name, set()).add(int(record["parameters"]))
            gpus |= {str(record["gpu"])} if "gpu" in record else set()
        if step.cell.values:
            cells[step.cell.name] = step.cell.values
    memory = psutil.virtual_memory().total / 2**30
    return Summary(
        title=config.title,
        seconds=seconds,
        machine={
            "system": f"{platform.system()} {platform.machine()}",
            "cores": psutil.cpu_count() or 1,
            "memory_gib": round(memory, 1),
            **({"gpu": ", ".join(sorted(gpus))} if gpus else {}),
        },
        versions={name: version(name) for name in ("mithridate", "torch", "transformers", "trl")},
        parameters={cell: tuple(sorted(found)) for cell, found in parameters.items()},
        cells=cells,
    )
