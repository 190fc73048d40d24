"""Frozen dataclasses to Parquet and back: the form in which runs keep their rows."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from mithridate.core.artifacts import atomic_path
from mithridate.core.errors import DataError

Row = TypeVar("Row")

_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def schema_of(row_type: type[Any]) -> pa.Schema:
    """The Arrow schema of a flat dataclass of str, int, float and bool fields, each optional or not."""
    hints = typing.get_type_hints(row_type)
    return pa.schema([_arrow_field(f.name, hints[f.name]) for f in dataclasses.fields(row_type)])


def _arrow_field(name: str, hint: Any) -> pa.Field:
    kind, nullable = _kind(hint)
    return pa.field(name, _ARROW[str if issubclass(kind, StrEnum) else kind], nullable=nullable)


def _kind(hint: Any) -> tuple[type[Any], bool]:
    """The type of a field, and whether it may be None."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, False
    (kind,) = [arg for arg in typing.get_args(hint) if arg is not type(None)]
    return kind, True


def _enums(row_type: type[Any]) -> dict[str, type[StrEnum]]:
    kinds = {name: _kind(hint)[0] for name, hint in typing.get_type_hints(row_type).items()}
    return {name: kind for name, kind in kinds.items() if issubclass(kind, StrEnum)}


def write_rows(path: Path, row_type: type[Row], rows: Iterable[Row]) -> None:
    """Write `rows` as one Parquet file, whole or not at all."""
    names = [f.name for f in dataclasses.fields(row_type)]  # type: ignore[arg-type]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for row in rows:
        for name in names:
            columns[name].append(getattr(row, name))
    with atomic_path(path) as beside:
        table = pa.table(columns, schema=schema_of(row_type))
        pq.write_table(table, beside, compression="zstd", write_page_checksum=True)


def read_rows(path: Path, row_type: type[Row]) -> list[Row]:
    """Read what `write_rows` wrote.

    Raises DataError if the file is not Parquet, was damaged since, lacks a column or holds in it what its
    type does not.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot be read as Parquet: {error}", path=path) from error
    names = [f.name for f in dataclasses.fields(row_type)]  # type: ignore[arg-type]
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise DataError(f"lacks the columns {', '.join(missing)}", path=path)
    try:
        records = table.select(names).cast(schema_of(row_type)).to_pylist()
        enums = _enums(row_type)
        return [
            row_type(
                **record
                | {name: kind(record[name]) for name, kind in enums.items() if record[name] is not None}
            )
            for record in records
        ]
    except (ValueError, pa.ArrowException) as error:
        raise DataError(f"does not hold the types of {row_type.__name__}: {error}", path=path) from error
