"""A curation on disk: the chosen examples, the decision on each, and the record; whole or absent."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from mithridate import __version__
from mithridate.core.artifacts import LOCK, atomic_path, exclusive, storage_errors, write_atomic
from mithridate.core.errors import DataError, StorageError
from mithridate.core.tables import schema_of, write_tables
from mithridate.corpus.alignment_data import turns_of
from mithridate.corpus.alignment_records import RawRecord
from mithridate.curation.curating import Curated
from mithridate.curation.filters import ExactDuplicates
from mithridate.curation.methods.complexity_quality import ComplexityQuality
from mithridate.curation.reading import Reader
from mithridate.curation.records import (
    CHOSEN,
    DECISIONS,
    NOT_CHOSEN,
    RECORD,
    CurationRecord,
    Decision,
    FileRecord,
    SourceRecord,
)
from mithridate.curation.scores import COMPLEXITY, QUALITY
from mithridate.curation.vectors import SCALE

SCRATCH: Final = "scratch"
_NEW: Final = "new"
_ROWS_AT_ONCE: Final = 1 << 15


class Form(StrEnum):
    """How chosen examples are written: as they stand in their files, or all as TRL's `messages`."""

    OWN = "own"
    MESSAGES = "messages"


@contextmanager
def new_folder(out: Path) -> Iterator[tuple[Path, Path]]:
    """A folder to write to, which becomes `out` when the block ends well, and another for working files.

    Raises StorageError where something is at `out` already, RunStateError where another process is at it.
    """
    out = out.absolute()
    _require_free(out)
    beside = out.with_name(f".{out.name}.curating")
    with exclusive(beside):
        try:
            with storage_errors(out):
                for name in (_NEW, SCRATCH):
                    shutil.rmtree(beside / name, ignore_errors=True)
                    (beside / name).mkdir()
            yield beside / _NEW, beside / SCRATCH
            _require_free(out)
            with storage_errors(out):
                (beside / _NEW).replace(out)
        finally:
            with suppress(OSError):  # what cannot be removed now goes when the next curation begins
                for name in (_NEW, SCRATCH):
                    shutil.rmtree(beside / name, ignore_errors=True)
                (beside / LOCK).unlink(missing_ok=True)
                beside.rmdir()


def _require_free(out: Path) -> None:
    with storage_errors(out):
        if out.is_symlink() or (out.exists() and not out.is_dir()):
            raise StorageError(f"{out}: is no folder; a curation is one. Choose another --out")
        if out.exists() and (names := sorted(path.name for path in out.iterdir())):
            raise StorageError(
                f"{out}: holds other things ({names[0]}); a curation replaces nothing. Choose another --out"
            )


def write_chosen(curated: Curated, folder: Path, form: Form) -> None:
    """The chosen examples in the order of their files, a line each: the second pass.

    A line of JSON lines is written byte for byte, whatever its line end; a record of a list on one line.
    Raises DataError if a file is not what it was in the first pass.
    """
    places: list[set[int]] = [set() for _ in curated.reader.files]
    for row in curated.chosen.tolist():
        places[curated.found.files[row]].add(int(curated.found.places[row]))
    again = Reader(curated.reader.files, curated.options.source_field)
    with atomic_path(folder / CHOSEN) as beside, beside.open("wb") as out:
        for number, record in again.records():
            if record.place in places[number]:
                out.write(_line(record, form, again.files[number].path) + b"\n")
    for number, digest in curated.reader.digests.items():
        if again.digests[number] != digest:
            raise DataError(
                "was changed while it was read; run the command again", path=again.files[number].path
            )


def _line(record: RawRecord, form: Form, path: Path) -> bytes:
    if form is Form.MESSAGES:
        return json.dumps({"messages": turns_of(record, path)}, ensure_ascii=False).encode()
    if record.raw is not None:
        return record.raw
    try:
        return json.dumps(record.value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a character in a field that no one reads
        return json.dumps(record.value).encode()


def write_decisions(curated: Curated, folder: Path) -> None:
    """`decisions.parquet`: a row an example, in the order of the files."""
    schema = schema_of(Decision)
    write_tables(folder / DECISIONS, schema, _tables(curated, schema))


def _tables(curated: Curated, schema: pa.Schema) -> Iterator[pa.Table]:
    found, reasons = curated.found, _Reasons(curated)
    files = pa.array([file.name for file in curated.reader.files])
    sources = pa.array(found.source_names)
    names = pa.array([rule.name for rule in curated.asked], pa.string())
    scores = np.full(len(found), np.nan)
    scores[curated.passed] = curated.selection.score
    for start in range(0, len(found), _ROWS_AT_ONCE):
        part = slice(start, min(start + _ROWS_AT_ONCE, len(found)))
        lone = curated.nearest[part] < 0
        near = curated.chosen[np.maximum(curated.nearest[part], 0)]
        dropped = curated.filters[part]
        similarity = 1 - curated.squared[part].astype(np.float64) / (2 * SCALE * SCALE)
        columns = [
            files.take(pa.array(found.files[part])),
            pa.array(found.places[part]),
            sources.take(pa.array(found.sources[part])),
            pa.array(reasons.is_chosen[part]),
            names.take(pa.array(dropped.astype(np.int64), mask=dropped < 0)),
            pa.array(reasons.of(range(part.start, part.stop)), pa.string()),
            pa.array(scores[part], mask=np.isnan(scores[part])),
            files.take(pa.array(found.files[near], mask=lone)),
            pa.array(found.places[near], mask=lone),
            pa.array(similarity, mask=lone),
        ]
        yield pa.table(columns, schema=schema)


class _Reasons:
    """Why each example was kept or dropped, in words."""

    def __init__(self, curated: Curated) -> None:
        self._curated = curated
        self.is_chosen = np.zeros(len(curated.found), bool)
        self.is_chosen[curated.chosen] = True
        self._why = dict(zip(curated.chosen.tolist(), curated.selection.why, strict=True))
        self._left = np.zeros(len(curated.found), np.int8)
        if curated.selection.left_for is not None:
            self._left[curated.passed] = curated.selection.left_for

    def of(self, rows: range) -> list[str]:
        """The reasons of some rows."""
        return [self._one(row) for row in rows]

    def _one(self, row: int) -> str:
        curated = self._curated
        if curated.filters[row] < 0:
            why: str | None = self._why.get(row)
            return why if why is not None else curated.selection.left[int(self._left[row])]
        if (other := int(curated.repeats[row])) < 0:
            return curated.found.reason_names[int(curated.found.reasons[row])]
        exact = isinstance(curated.asked[int(curated.filters[row])], ExactDuplicates)
        file = curated.reader.files[int(curated.found.files[other])].name
        return f"{'the same as' if exact else 'nearly the same as'} {file}:{curated.found.places[other]}"


def record_of(curated: Curated, encoder: str, seconds: float, said: dict[str, float]) -> CurationRecord:
    """The record of a curation; `said` are figures beside those of its method."""
    options = curated.options
    files = np.bincount(curated.found.files, minlength=len(curated.reader.files))
    return CurationRecord(
        method=options.method,
        n=options.n,
        seed=options.seed,
        encoder=encoder,
        options=options.method_options.model_dump(mode="json"),
        filters=_filters(curated),
        files=[
            FileRecord(name=file.name, sha256=curated.reader.digests[number], examples=int(files[number]))
            for number, file in enumerate(curated.reader.files)
        ],
        sources=_sources(curated),
        said=curated.selection.notes | said,
        proxies={"complexity": COMPLEXITY, "quality": QUALITY}
        if options.method == ComplexityQuality.name
        else {},
        versions={"mithridate": __version__, "python": platform.python_version(), "numpy": np.__version__},
        seconds=round(seconds, 1),
    )


def _filters(curated: Curated) -> dict[str, Any]:
    return {rule.name: rule.model_dump(mode="json") for rule in curated.asked}


def _sources(curated: Curated) -> list[SourceRecord]:
    found, names = curated.found, [rule.name for rule in curated.asked]
    # Filters, then those that passed and were not chosen, then the chosen.
    fate = np.where(curated.filters < 0, len(names), curated.filters).astype(np.int64)
    fate[curated.chosen] = len(names) + 1
    width = len(names) + 2
    counts = np.bincount(found.sources * width + fate, minlength=len(found.source_names) * width)
    rows = counts.reshape(len(found.source_names), width).tolist()
    return [
        SourceRecord(
            name=name,
            read=sum(row),
            dropped={what: count for what, count in zip([*names, NOT_CHOSEN], row, strict=False) if count},
            chosen=row[-1],
        )
        for name, row in zip(found.source_names, rows, strict=True)
    ]


def write_record(record: CurationRecord, folder: Path) -> None:
    """`curation.json`."""
    write_atomic(folder / RECORD, record.model_dump_json(indent=1) + "\n")
