"""Gathering what the steps left behind into the run's own tables, from which any report can be rebuilt."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mithridate.core.artifacts import atomic_path, done_record, write_atomic
from mithridate.core.run_files import CURVES, LEDGER, MEASUREMENTS, SAMPLES, SUMMARY, CurveRow
from mithridate.core.tables import read_rows, write_rows
from mithridate.core.types import Measurement, Sample
from mithridate.evaluation.summary import paired
from mithridate.study.config import StudyConfig
from mithridate.study.plan import Step
from mithridate.training.progress import CurvePoint


def collect(config: StudyConfig, out: Path, steps: Iterable[Step]) -> None:
    """Write the run's ledger, curves, samples, measurements and summary, each whole or not at all."""
    steps = list(steps)
    measures = [step for step in steps if step.kind == "measure"]
    samples = [row for step in measures for row in read_rows(step.folder / SAMPLES, Sample)]
    figures = [row for step in measures for row in read_rows(step.folder / MEASUREMENTS, Measurement)]
    clean = [row for row in samples if not row.dose]
    figures += paired((row for row in samples if row.dose), clean)
    write_rows(out / SAMPLES, Sample, samples)
    write_rows(out / CURVES, CurveRow, _curves(steps))
    _write_ledger(out / LEDGER, steps)
    write_atomic(out / SUMMARY, json.dumps(_summary(config, steps), indent=1, sort_keys=True) + "\n")
    # The figures last: who finds them finds everything.
    write_rows(out / MEASUREMENTS, Measurement, figures)


def _curves(steps: Iterable[Step]) -> list[CurveRow]:
    return [
        CurveRow(
            stage=step.stage,
            arm=step.twin.arm,
            dose=step.twin.dose,
            seed=step.seed,
            cell=step.cell.name,
            step=point.step,
            tokens=point.tokens,
            loss=point.loss,
            learning_rate=point.learning_rate,
            model=step.twin.name,
        )
        for step in steps
        if step.kind in ("base", "sft", "dpo") and step.twin is not None
        for point in read_rows(step.folder / CURVES, CurvePoint)
    ]


def _write_ledger(path: Path, steps: Iterable[Step]) -> None:
    tables = []
    for step in steps:
        if step.kind != "plant" or step.twin is None:
            continue
        record = done_record(step.folder) or {}
        table = pq.read_table(step.bed.root / record["ledger"])
        # Equal strings in dictionary columns of different files have different numbers.
        columns = {
            name: pc.cast(column, pa.string()) if pa.types.is_dictionary(column.type) else column
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
        size = table.num_rows
        columns |= {
            "dose": pa.array([step.twin.dose] * size, pa.string()),
            "seed": pa.array([step.seed] * size, pa.int64()),
            "cell": pa.array([step.cell.name] * size, pa.string()),
        }
        tables.append(pa.table(columns))
    if tables:
        with atomic_path(path) as beside:
            pq.write_table(pa.concat_tables(tables, promote_options="default"), beside, compression="zstd")


def _summary(config: StudyConfig, steps: Iterable[Step]) -> dict[str, Any]:
    seconds: dict[str, float] = {}
    clean_tokens: list[int] = []
    parameters: list[int] = []
    for step in steps:
        record = done_record(step.folder) or {}
        seconds[step.kind] = round(seconds.get(step.kind, 0.0) + float(record.get("seconds", 0.0)), 2)
        if step.kind == "plant":
            clean_tokens.append(int(record["clean_tokens"]))
        if step.kind == "base":
            parameters.append(int(record["parameters"]))
    memory = psutil.virtual_memory().total / 2**30
    return {
        "title": config.title,
        "seconds": seconds,
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": psutil.cpu_count() or 1,
            "memory_gib": round(memory, 1),
        },
        "versions": {name: version(name) for name in ("mithridate", "torch", "transformers", "trl")},
        "tokens": round(sum(clean_tokens) / len(clean_tokens)) if clean_tokens else None,
        "parameters": max(parameters, default=None),
    }
