"""What was planted where: one row a document, and one a shard with the hash of what it was before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mithridate.core.artifacts import atomic_path
from mithridate.core.errors import DataError
from mithridate.core.tables import schema_of
from mithridate.corpus.readers import STATE_FOLDER
from mithridate.corpus.shards import Insertion, Placed

_BUFFERED_ROWS = 4096


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One planted document.

    `position` is its index among the documents of the planted shard. `byte_offset` and `byte_length` say
    where its bytes lie in the shard once decompressed; Parquet and Arrow shards have no such place (None).
    `sha256` is of those bytes, or of the text as UTF-8. `tokens` is counted as the rate was.
    """

    shard: str
    position: int
    byte_offset: int | None
    byte_length: int
    attack: str
    kind: str
    template: str
    tokens: int
    sha256: str
    document_id: str


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """One file of a planted corpus, or one folder of text files.

    `sha256` and `size` are those of the original; `planted_sha256` is empty where the planted bytes are
    those of the original but for what the ledger lists. `original` names the kept original relative to the
    state folder, where the encoding could not be reversed. `stamp` tells cheaply whether the original may
    have changed since.
    """

    shard: str
    format: str
    documents: int
    clean_tokens: int
    planted_documents: int
    planted_tokens: int
    size: int
    sha256: str
    planted_size: int
    planted_sha256: str
    original: str
    stamp: str


OnShard = Callable[[ShardRecord, int], None]
"""Told of each shard as it is done, and of how many there are to do."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The folder beside the shards of a planted corpus that holds all that is known of the planting.

    Its name begins with an underscore, which readers of data folders pass over.
    """

    out: Path

    @property
    def path(self) -> Path:
        """The folder itself."""
        return self.out / STATE_FOLDER

    @property
    def plan(self) -> Path:
        """What is to be planted."""
        return self.path / "plan.json"

    @property
    def ledger(self) -> Path:
        """Every planted document, as `LedgerRow`."""
        return self.path / "ledger.parquet"

    @property
    def shards(self) -> Path:
        """Every shard, as `ShardRecord`."""
        return self.path / "shards.parquet"

    @property
    def parts(self) -> Path:
        """What is known of single shards while others are not yet done."""
        return self.path / "parts"

    @property
    def locks(self) -> Path:
        """Who is at work."""
        return self.path / "locks"

    def part(self, index: int, suffix: str) -> Path:
        """A file about shard number `index`."""
        return self.parts / f"{index:07d}{suffix}"

    def original(self, name: str) -> Path:
        """Where the original of the shard `name` is kept."""
        return self.path / "originals" / name


class LedgerWriter:
    """Writes rows to one Parquet file, a bounded number in memory; see `ledger_writer`."""

    def __init__(self, path: Path, held: ExitStack) -> None:
        self._path, self._held = path, held
        self._schema = schema_of(LedgerRow)
        self._names = [field.name for field in fields(LedgerRow)]
        self._rows: list[LedgerRow] = []
        self._writer: Any = None

    def add(self, row: LedgerRow) -> None:
        """Add one row."""
        self._rows.append(row)
        if len(self._rows) >= _BUFFERED_ROWS:
            self._flush()

    def _flush(self) -> None:
        columns = {name: [getattr(row, name) for row in self._rows] for name in self._names}
        self.add_table(pa.table(columns, schema=self._schema))
        self._rows.clear()

    def add_table(self, table: Any) -> None:
        """Add rows that are in Arrow's form already."""
        if self._writer is None:
            beside = self._held.enter_context(atomic_path(self._path))
            # Closing writes too, and so can fail as writing can: inside of `atomic_path`.
            self._writer = self._held.enter_context(
                pq.ParquetWriter(beside, self._schema, compression="zstd")
            )
        self._writer.write_table(table)

    def finish(self, *, always: bool) -> None:
        """Write what is waiting; without any row a file only if `always`."""
        if self._rows or (always and self._writer is None):
            self._flush()


@contextmanager
def ledger_writer(path: Path, *, always: bool = False) -> Iterator[LedgerWriter]:
    """A writer of the ledger `path`, which is whole or absent. Without any row no file is written, unless
    `always`.

    Raises StorageError when the disk is full or may not be written to.
    """
    with ExitStack() as held:
        writer = LedgerWriter(path, held)
        yield writer
        writer.finish(always=always)


def row_of(shard: str, insertion: Insertion, placed: Placed) -> LedgerRow:
    """The ledger's row for one document planted in `shard`."""
    return LedgerRow(
        shard=shard,
        position=placed.position,
        byte_offset=placed.byte_offset,
        byte_length=placed.byte_length,
        attack=insertion.attack,
        kind=insertion.kind,
        template=insertion.template,
        tokens=insertion.tokens,
        sha256=placed.sha256,
        document_id=placed.document_id,
    )


def merge_ledgers(parts: Iterable[tuple[Path, int]], out: Path) -> None:
    """Join the ledgers of single shards, each with the number of documents planted there, in their order.

    Raises DataError if one tells of fewer or more: a document that no ledger knows could not be taken out.
    """
    with ledger_writer(out, always=True) as writer:
        for part, planted in parts:
            found = 0
            for table in _tables(part) if planted else ():
                writer.add_table(table)
                found += table.num_rows
            if found != planted:
                raise DataError(
                    f"tells of {found} planted documents where there are {planted}. "
                    "Remove the planted folder and plant again",
                    path=part,
                )


def read_ledger(path: Path) -> Iterator[LedgerRow]:
    """The rows of a ledger, streamed in the order of shards and positions.

    Raises DataError if the file is missing or not a ledger.
    """
    for table in _tables(path):
        for record in table.to_pylist():
            yield LedgerRow(**record)


def _tables(path: Path) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path) as file:
            if file.schema_arrow.names != schema_of(LedgerRow).names:
                raise DataError("is Parquet, but not a ledger", path=path)
            for batch in file.iter_batches(batch_size=_BUFFERED_ROWS):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot be read as a ledger: {error}", path=path) from error
