"""Frozen dataclasses to Parquet and back: the form in which runs keep their rows."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from mithridate.core.artifacts import atomic_path
from mithridate.core.errors import DataError

Row = TypeVar("Row")

LATER = {"later": True}
"""Metadata of a field that tables written before it came lack: it is read from them as its default."""
_ROWS_AT_ONCE = 16_384
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
    names = _names(row_type)
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for row in rows:
        for name in names:
            columns[name].append(getattr(row, name))
    schema = schema_of(row_type)
    write_tables(path, schema, [pa.table(columns, schema=schema)])


def write_tables(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write `tables` of one schema as one Parquet file: one in memory at a time, whole or not at all."""
    options = {"compression": "zstd", "write_page_checksum": True}
    with atomic_path(path) as beside, pq.ParquetWriter(beside, schema, **options) as writer:
        for table in tables:
            writer.write_table(table)


def read_rows(path: Path, row_type: type[Row]) -> list[Row]:
    """Read what `write_rows` wrote, or the columns of it that `row_type` has.

    Raises DataError if the file is not Parquet, was damaged since, lacks a column (unless its field is
    `LATER`) or holds in it what its type does not.
    """
    enums = _enums(row_type)
    found: list[Row] = []
    for table in read_tables(path, row_type):
        try:
            found += [
                row_type(
                    **record
                    | {name: kind(record[name]) for name, kind in enums.items() if record[name] is not None}
                )
                for record in table.to_pylist()
            ]
        except ValueError as error:
            raise _other_types(path, row_type, error) from error
    return found


def read_tables(path: Path, row_type: type[Any]) -> Iterator[pa.Table]:
    """The columns of `row_type` and no others, some thousand rows at a time; raises as `read_rows` does."""
    later = {one.name for one in dataclasses.fields(row_type) if one.metadata.get("later")}
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            known = file.schema_arrow.names
            names = [name for name in _names(row_type) if name in known or name not in later]
            schema = pa.schema([schema_of(row_type).field(name) for name in names])
            if missing := [name for name in names if name not in known]:
                raise DataError(f"lacks the columns {', '.join(missing)}", path=path)
            for batch in file.iter_batches(columns=names, batch_size=_ROWS_AT_ONCE):
                yield _cast(pa.Table.from_batches([batch]).select(names), schema, path, row_type)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot be read as Parquet: {error}", path=path) from error


def _cast(table: pa.Table, schema: pa.Schema, path: Path, row_type: type[Any]) -> pa.Table:
    try:
        return table.cast(schema)
    except (ValueError, pa.ArrowException) as error:
        raise _other_types(path, row_type, error) from error


def _other_types(path: Path, row_type: type[Any], error: Exception) -> DataError:
    return DataError(f"does not hold the types of {row_type.__name__}: {error}", path=path)


def _names(row_type: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(row_type)]
