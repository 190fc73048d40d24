"""Shards of columns: Parquet files, and the Arrow files of a Hugging Face dataset on disk."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from mithridate.core.artifacts import atomic_path
from mithridate.core.errors import DataError
from mithridate.core.types import Document
from mithridate.corpus.counting import TokenCounter
from mithridate.corpus.planted_rows import PlantedRows, fitting
from mithridate.corpus.shards import Insertions, Record, Shard, Surveyed, missing_field
from mithridate.corpus.streams import sha256_of

_BATCH_ROWS = 1024
# Larger row groups of the original are divided, so that memory does not follow them.
_ROW_GROUP_BYTES = 32 << 20


class BatchSink(Protocol):
    """Somewhere to write record batches to."""

    def write_batch(self, batch: Any) -> None:
        """Write all rows of `batch`."""


@dataclass(frozen=True)
class ColumnShard(Shard):
    """A file of rows with a text column. Its encoding is not reproducible, so planting keeps the original."""

    reversible: ClassVar[bool] = False

    @abstractmethod
    def schema(self) -> Any:
        """The Arrow schema.

        Raises DataError if the file is not what its name says.
        """

    @abstractmethod
    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """Record batches of all columns, or of those named."""

    @abstractmethod
    def open_sink(self, path: Path) -> AbstractContextManager[BatchSink]:
        """A new file of the same schema and encoding."""

    def documents(self) -> Iterator[Document]:
        """The documents; those without an identifier are called by shard and row."""
        schema = self._checked_schema()
        wanted = [name for name in (self.fields.text, self.fields.id) if name in schema.names]
        row = 0
        for batch in self.batches(wanted):
            texts = self._texts(batch, row)
            ids = (
                self._values(batch, self.fields.id, row) if self.fields.id in wanted else [None] * len(texts)
            )
            for text, identifier in zip(texts, ids, strict=True):
                yield Document(id=f"{self.name}:{row}" if identifier is None else str(identifier), text=text)
                row += 1

    def survey(self, counter: TokenCounter) -> SurveyedColumns:
        """Read the text column once."""
        schema = self._checked_schema()
        has_id = self.fields.id in schema.names
        rows = tokens = 0
        example: Any = None
        for batch in self.batches([self.fields.text, self.fields.id] if has_id else [self.fields.text]):
            texts = self._texts(batch, rows)
            if has_id and example is None and batch.num_rows:
                (example,) = self._values(batch.slice(0, 1), self.fields.id, rows)
            tokens += sum(counter.count(texts))
            rows += batch.num_rows
        return SurveyedColumns(rows, tokens, sha256_of(self.path), shard=self, example=example)

    def _checked_schema(self) -> Any:
        schema = self.schema()
        name = self.fields.text
        if name not in schema.names:
            raise DataError(missing_field(name, schema.names), path=self.path, field=name)
        for field in (name, self.fields.id):
            if (times := schema.names.count(field)) > 1:
                raise DataError(
                    f"there are {times} columns of this name; rename all but one", path=self.path, field=field
                )
        kind = schema.field(name).type
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (
            pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value)
        ):
            raise DataError(f"must be a column of strings, not {kind}", path=self.path, field=name)
        return schema

    def _values(self, batch: Any, name: str, before: int) -> list[Any]:
        """The values of a column, of which the first is row `before` of the file."""
        column = batch.column(name)
        try:
            values: list[Any] = column.to_pylist()
        except ValueError:
            for row, value in enumerate(column, start=before):
                try:
                    value.as_py()
                except ValueError as error:
                    # Strings that are not UTF-8, times that Python has no room for.
                    raise DataError(
                        f"row {row} cannot be read: {error}", path=self.path, field=name
                    ) from error
            raise
        return values

    def _texts(self, batch: Any, before: int) -> list[str]:
        texts: list[str] = self._values(batch, self.fields.text, before)
        if batch.column(self.fields.text).null_count:
            row = before + next(n for n, text in enumerate(texts) if text is None)
            raise DataError(f"row {row} has no text", path=self.path, field=self.fields.text)
        return texts


@dataclass(frozen=True)
class ParquetShard(ColumnShard):
    """A Parquet file, read by row group and in batches."""

    format: ClassVar[str] = "parquet"

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            with pq.ParquetFile(self.path, pre_buffer=False) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"cannot be read as Parquet: {error}", path=self.path) from error

    def schema(self) -> Any:
        """The Arrow schema stored in the file."""
        with self._open() as file:
            return file.schema_arrow

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """Record batches of up to 1,024 rows."""
        with self._open() as file:
            yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=columns, use_threads=False)

    @contextmanager
    def open_sink(self, path: Path) -> Iterator[BatchSink]:
        """A Parquet file with the compression of the original and row groups of about its size."""
        with self._open() as file:
            schema, metadata = file.schema_arrow, file.metadata
            groups = [metadata.row_group(n) for n in range(min(1, metadata.num_row_groups))]
            rows = max((metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)), default=1)
        codecs = {}
        for group in groups:
            for n in range(group.num_columns):
                column = group.column(n)
                codecs[column.path_in_schema] = (
                    "none" if column.compression == "UNCOMPRESSED" else column.compression
                )
        with pq.ParquetWriter(path, schema, compression=codecs or "snappy") as writer:
            sink = _RowGroups(writer, schema, max(1, rows))
            yield sink
            sink.flush()


class _RowGroups:
    """Gathers batches to row groups."""

    def __init__(self, writer: Any, schema: Any, rows: int) -> None:
        self._writer, self._schema, self._rows = writer, schema, rows
        self._waiting: list[Any] = []

    def write_batch(self, batch: Any) -> None:
        self._waiting.append(batch)
        rows = sum(b.num_rows for b in self._waiting)
        if rows >= self._rows or sum(b.nbytes for b in self._waiting) >= _ROW_GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting, self._schema)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
            self._waiting = []


@dataclass(frozen=True)
class ArrowShard(ColumnShard):
    """One Arrow stream of a dataset written by `datasets.save_to_disk`."""

    format: ClassVar[str] = "arrow"

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            with pa.OSFile(str(self.path), "rb") as source, pa.ipc.open_stream(source) as reader:
                yield reader
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"cannot be read as an Arrow stream: {error}; is the dataset complete?", path=self.path
            ) from error

    def schema(self) -> Any:
        """The schema of the stream."""
        with self._open() as reader:
            return reader.schema

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """The record batches of the stream."""
        with self._open() as reader:
            for batch in reader:
                found = batch if columns is None else batch.select(list(columns))
                # Unlike Parquet's, damaged bytes would be taken for places in memory.
                found.validate(full=True)
                yield found

    @contextmanager
    def open_sink(self, path: Path) -> Iterator[BatchSink]:
        """A new Arrow stream."""
        with pa.OSFile(str(path), "wb") as target, pa.ipc.new_stream(target, self.schema()) as writer:
            yield writer


@dataclass(frozen=True)
class SurveyedColumns(Surveyed):
    """A surveyed file of columns; `example` is the identifier of its first row."""

    shard: ColumnShard
    example: Any

    def write(self, out: Path, insertions: Insertions, rng: random.Random, record: Record) -> None:
        """Write every batch anew, with rows put in; the number of batches stays what it was."""
        schema = self.shard.schema()
        rows = PlantedRows(self.shard, schema, self.example, rng)
        waiting = iter(insertions)
        following = next(waiting, None)
        before = planted = 0
        with (
            fitting(self.shard.path),
            atomic_path(out) as beside,
            self.shard.open_sink(beside) as sink,
        ):
            for batch in self.shard.batches():
                due, last = [], before + batch.num_rows
                while following is not None and following.position < last:
                    due.append(following)
                    following = next(waiting, None)
                sink.write_batch(rows.insert(batch, before, due, planted, record) if due else batch)
                before, planted = last, planted + len(due)
            while following is not None:
                # After the last row: in a batch of their own, a bounded number at a time.
                due = []
                while following is not None and len(due) < _BATCH_ROWS:
                    due.append(following)
                    following = next(waiting, None)
                empty = pa.RecordBatch.from_pylist([], schema=schema)
                sink.write_batch(rows.insert(empty, before, due, planted, record))
                planted += len(due)
