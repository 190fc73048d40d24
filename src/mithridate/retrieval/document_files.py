"""Documents in Arrow files: memory-mapped, so that an index of a million is open at once."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

import pyarrow as pa

from mithridate.core.errors import IndexDamagedError
from mithridate.core.types import Document

# Bytes and no strings: Arrow's strings must be UTF-8, which cannot hold half of a surrogate pair.
_SCHEMA = pa.schema([pa.field(name, pa.large_binary(), nullable=False) for name in ("id", "text", "meta")])


class DocumentWriter:
    """Writes batches of documents to one file."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink

    def write(self, documents: Sequence[Document]) -> None:
        """Add `documents` as one batch."""
        columns = [
            [_bytes(document.id) for document in documents],
            [_bytes(document.text) for document in documents],
            [_bytes(json.dumps(dict(document.meta))) for document in documents],
        ]
        arrays = [pa.array(column, pa.large_binary()) for column in columns]
        self._sink.write_batch(pa.record_batch(arrays, schema=_SCHEMA))


@contextmanager
def document_writer(path: Path) -> Iterator[DocumentWriter]:
    """A new file of documents at `path`."""
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as sink:
        yield DocumentWriter(sink)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(value: Any) -> str:
    found: bytes = value.as_py()
    return found.decode("utf-8", "surrogatepass")


class DocumentRows(Sequence[Document]):
    """The documents of an index by row, read from their files when they are asked for.

    Raises IndexDamagedError for a file that is no file of documents, or holds another number of them.
    """

    def __init__(self, files: Sequence[tuple[Path, int]]) -> None:
        self._batches: list[Any] = []
        self._starts: list[int] = []
        self._rows = 0
        for path, rows in files:
            before = self._rows
            for batch in _batches(path):
                self._batches.append(batch)
                self._starts.append(self._rows)
                self._rows += batch.num_rows
            if self._rows - before != rows:
                problem = f"holds {self._rows - before} documents instead of {rows}"
                raise IndexDamagedError(problem, path=path)

    def __len__(self) -> int:
        return self._rows

    @overload
    def __getitem__(self, row: int) -> Document: ...
    @overload
    def __getitem__(self, row: slice) -> list[Document]: ...
    def __getitem__(self, row: int | slice) -> Document | list[Document]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(self._rows))]
        if not -self._rows <= row < self._rows:
            raise IndexError(row)
        row %= self._rows
        place = bisect_right(self._starts, row) - 1
        batch, within = self._batches[place], row - self._starts[place]
        return Document(
            id=_text(batch.column("id")[within]),
            text=_text(batch.column("text")[within]),
            meta=json.loads(_text(batch.column("meta")[within])),
        )

    def ids(self) -> Iterator[str]:
        """The identifiers alone, row by row."""
        for batch in self._batches:
            for value in batch.column("id"):
                yield _text(value)


def _batches(path: Path) -> Iterator[Any]:
    try:
        # The batches stay mapped when the file is closed; many files must not mean many open ones.
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                batch.validate()
                if batch.schema != _SCHEMA:
                    raise IndexDamagedError("holds other columns", path=path)
                yield batch
    except (pa.ArrowException, OSError) as error:
        raise IndexDamagedError(f"cannot be read as documents: {error}", path=path) from error
