"""Rows to plant in a table of any columns: a text, an identifier, and nothing else where that is allowed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from mithridate.core.errors import DataError
from mithridate.corpus.shards import Insertion, NaturalIds, Placed, Record, Shard, sha256_bytes


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Say of a row that cannot be written with the schema of `path` that it is so."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise DataError(f"no row can be planted among these columns: {error}", path=path) from error


class PlantedRows:
    """Makes rows of a shard's schema: text and identifier, and nothing in the other columns.

    `example` is the identifier of one of its rows, which the new ones are like.
    """

    def __init__(self, shard: Shard, schema: Any, example: Any, rng: random.Random) -> None:
        self._shard, self._schema = shard, schema
        fields = shard.fields
        largest = 2**53
        if fields.id in schema.names and pa.types.is_integer(schema.field(fields.id).type):
            kind = schema.field(fields.id).type
            largest = min(largest, 2 ** (kind.bit_width - pa.types.is_signed_integer(kind)) - 1)
        self._ids = NaturalIds(example, rng, largest=largest)

    def insert(self, batch: Any, before: int, due: list[Insertion], planted: int, record: Record) -> Any:
        """`batch`, whose first row is clean document `before`, with `due` between its rows."""
        ids = [self._ids.next() for _ in due]
        made = pa.RecordBatch.from_arrays(
            [self._column(field, due, ids) for field in self._schema], schema=self._schema
        )
        pieces, done = [], 0
        for number, insertion in enumerate(due):
            at = insertion.position - before
            pieces += [batch.slice(done, at - done), made.slice(number, 1)]
            done = at
            encoded = insertion.text.encode()
            identifier = "" if ids[number] is None else str(ids[number])
            record(
                insertion,
                Placed(
                    position=insertion.position + planted + number,
                    byte_offset=None,
                    byte_length=len(encoded),
                    sha256=sha256_bytes(encoded),
                    document_id=identifier,
                ),
            )
        pieces.append(batch.slice(done))
        table = pa.Table.from_batches([p for p in pieces if p.num_rows], self._schema).combine_chunks()
        return table.to_batches()[0]

    def _column(self, field: Any, due: list[Insertion], ids: list[Any]) -> Any:
        if field.name == self._shard.fields.text:
            return pa.array([insertion.text for insertion in due], type=field.type)
        if field.name == self._shard.fields.id and ids[0] is not None:
            return pa.array(ids, type=field.type)
        return self._empty(field, len(due))

    def _empty(self, field: Any, rows: int) -> Any:
        """Nulls, or a neutral value where there may be none."""
        if not field.nullable:
            return pa.array([self._nothing(field)] * rows, type=field.type)
        if not pa.types.is_struct(field.type) or not field.type.num_fields:
            return pa.nulls(rows, type=field.type)
        # Null as a whole, and yet not in fields of its own that must not be null.
        inner = [self._empty(field.type.field(n), rows) for n in range(field.type.num_fields)]
        return pa.StructArray.from_arrays(inner, fields=list(field.type), mask=pa.array([True] * rows))

    def _nothing(self, field: Any) -> Any:
        """A neutral value for a column that must not be null."""
        kind = field.type
        for is_kind, value in (
            (pa.types.is_integer, 0),
            (pa.types.is_floating, 0.0),
            (pa.types.is_boolean, False),
            (pa.types.is_string, ""),
            (pa.types.is_large_string, ""),
            (pa.types.is_binary, b""),
            (pa.types.is_list, []),
        ):
            if is_kind(kind):
                return value
        raise DataError(
            f"every row must have a {kind} here, which a planted row has not; make the column nullable",
            path=self._shard.path,
            field=field.name,
        )
