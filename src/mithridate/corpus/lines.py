"""JSON lines, plain or compressed. Clean lines are copied byte for byte, never written anew."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import orjson

from mithridate.core.artifacts import atomic_path
from mithridate.core.errors import DataError
from mithridate.core.types import Document
from mithridate.corpus.counting import TokenCounter
from mithridate.corpus.shards import (
    CHANGED_MEANWHILE,
    Insertion,
    Insertions,
    NaturalIds,
    Placed,
    Record,
    Shard,
    Surveyed,
    missing_field,
    sha256_bytes,
)
from mithridate.corpus.streams import BLOCK, Codec, Readable, Sink, open_reader, open_writer

_BOM = b"\xef\xbb\xbf"


def line_blocks(stream: Readable) -> Iterator[bytes]:
    """The stream in pieces of whole lines; the last may lack its line end."""
    carried: list[bytes] = []
    while block := stream.read(BLOCK):
        cut = block.rfind(b"\n") + 1
        if not cut:
            carried.append(block)
            continue
        yield b"".join([*carried, block[:cut]])
        carried = [block[cut:]] if cut < len(block) else []
    if carried:
        yield b"".join(carried)


def _lines_of(block: bytes) -> list[bytes]:
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def clean_text(text: str) -> str:
    """`text` with halves of surrogate pairs, which JSON can escape and UTF-8 cannot hold, replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


@dataclass(frozen=True)
class JsonLines(Shard):
    """A `.jsonl` file: an object a line. Blank lines, CRLF and a missing last line end survive planting."""

    codec: Codec = Codec.PLAIN

    format: ClassVar[str] = "jsonl"
    reversible: ClassVar[bool] = True

    def documents(self) -> Iterator[Document]:
        """The documents; those without an identifier are called by shard and number."""
        number = line_number = 0
        with open_reader(self.path, self.codec) as stream:
            for block in line_blocks(stream):
                for line in _lines_of(block):
                    line_number += 1
                    record = self._record(line, line_number)
                    if record is None:
                        continue
                    found = record.get(self.fields.id)
                    known = isinstance(found, str | int)
                    yield Document(
                        id=clean_text(str(found)) if known else f"{self.name}:{number}",
                        text=clean_text(record[self.fields.text]),
                    )
                    number += 1

    def survey(self, counter: TokenCounter) -> SurveyedLines:
        """Parse every record once, keeping only how many there are in each piece of the file."""
        digest = hashlib.sha256()
        counts = array("Q")
        tokens = line_number = 0
        example: dict[str, Any] | None = None
        first_line = last = b""
        with open_reader(self.path, self.codec, digest.update) as stream:
            for block in line_blocks(stream):
                lines = _lines_of(block)
                texts = self._texts(lines, line_number)
                if example is None and texts:
                    first_line = next(line for line in lines if line.removeprefix(_BOM).strip())
                    example = self._record(first_line, line_number + 1)
                counts.append(len(texts))
                tokens += sum(counter.count(texts))
                line_number += len(lines)
                last = block[-1:]
        return SurveyedLines(
            documents=sum(counts),
            tokens=tokens,
            sha256=digest.hexdigest(),
            shard=self,
            counts=counts,
            example=example or {},
            line_end=b"\r\n" if first_line.endswith(b"\r") else b"\n",
            spaced=b'": ' in first_line,
            ended=last in (b"\n", b""),
        )

    def _texts(self, lines: list[bytes], before: int) -> list[str]:
        """Texts of the records in `lines`, of which the first is line `before` + 1 of the file."""
        field, loads = self.fields.text, orjson.loads
        texts: list[Any]
        try:
            texts = [loads(line)[field] for line in lines]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            texts = [None]
        if set(map(type, texts)) <= {str}:
            return texts
        # Something is unusual: a blank line, or an error that must be named with its line.
        records = (self._record(line, before + number) for number, line in enumerate(lines, start=1))
        return [clean_text(record[field]) for record in records if record is not None]

    def _record(self, line: bytes, number: int) -> dict[str, Any] | None:
        if number == 1:
            line = line.removeprefix(_BOM)
        if not line.strip():
            return None
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            record = self._leniently(line, number)
        if not isinstance(record, dict):
            raise DataError("each line must hold a JSON object", path=self.path, line=number)
        field = self.fields.text
        if field not in record:
            raise DataError(missing_field(field, record), path=self.path, line=number, field=field)
        if not isinstance(record[field], str):
            kind = type(record[field]).__name__
            raise DataError(f"must be a string, not {kind}", path=self.path, line=number, field=field)
        return record

    def _leniently(self, line: bytes, number: int) -> Any:
        """What Python's own parser takes and the fast one does not: NaN, and halves of surrogate pairs."""
        try:
            return json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DataError(f"broken JSON: {error}", path=self.path, line=number) from error
        except ValueError as error:
            most = sys.get_int_max_str_digits()
            raise DataError(
                f"holds a whole number of more than {most:,} digits; write it as text",
                path=self.path,
                line=number,
            ) from error


@dataclass(frozen=True)
class CompressedJsonLines(JsonLines):
    """A `.jsonl.gz` or `.jsonl.zst` file, of any number of members or frames."""

    format: ClassVar[str] = "jsonl, compressed"
    reversible: ClassVar[bool] = False


@dataclass(frozen=True)
class SurveyedLines(Surveyed):
    """A surveyed file of JSON lines; `counts` holds the documents in each of its pieces."""

    shard: JsonLines
    counts: array[int]
    example: dict[str, Any]
    line_end: bytes
    spaced: bool
    ended: bool

    def write(self, out: Path, insertions: Insertions, rng: random.Random, record: Record) -> None:
        """Copy the file piece by piece, stopping only in those where something is planted."""
        with (
            open_reader(self.shard.path, self.shard.codec) as source,
            atomic_path(out) as beside,
            open_writer(beside, self.shard.codec) as sink,
        ):
            _Interleaving(self, sink, insertions, rng, record).run(source)


class _Interleaving:
    """One pass that copies clean lines and puts planted ones between them."""

    def __init__(
        self,
        surveyed: SurveyedLines,
        sink: Sink,
        insertions: Insertions,
        rng: random.Random,
        record: Record,
    ) -> None:
        self._surveyed, self._sink, self._record = surveyed, sink, record
        self._fields = surveyed.shard.fields
        example = surveyed.example.get(self._fields.id)
        self._ids = NaturalIds(clean_text(example) if isinstance(example, str) else example, rng)
        self._end = surveyed.line_end
        self._waiting = iter(insertions)
        self._next = next(self._waiting, None)
        self._offset = self._planted = 0

    def run(self, source: IO[bytes]) -> None:
        before = 0
        for block, count in zip_longest(line_blocks(source), self._surveyed.counts):
            if block is None or count is None:
                raise self._changed()
            if self._next is None or self._next.position >= before + count:
                self._write(block)
            else:
                self._interleave(block, before, count)
            before += count
        while self._next is not None:
            self._plant(at_end=True)

    def _changed(self) -> DataError:
        """For a file that is no longer as it was surveyed."""
        return DataError(CHANGED_MEANWHILE, path=self._surveyed.shard.path)

    def _write(self, data: bytes | memoryview) -> None:
        self._sink.write(data)
        self._offset += len(data)

    def _interleave(self, block: bytes, before: int, count: int) -> None:
        starts, view, done = _document_starts(block, count, first=self._offset == 0), memoryview(block), 0
        if len(starts) != count:
            raise self._changed()
        while self._next is not None and self._next.position < before + count:
            start = int(starts[self._next.position - before])
            self._write(view[done:start])
            done = start
            self._plant()
        self._write(view[done:])

    def _plant(self, *, at_end: bool = False) -> None:
        insertion = self._next
        assert insertion is not None
        line, identifier = self._line(insertion)
        data = self._end + line if at_end and not self._surveyed.ended else line + self._end
        placed = Placed(
            position=insertion.position + self._planted,
            byte_offset=self._offset,
            byte_length=len(data),
            sha256=sha256_bytes(data),
            document_id=identifier,
        )
        self._write(data)
        self._planted += 1
        self._record(insertion, placed)
        self._next = next(self._waiting, None)

    def _line(self, insertion: Insertion) -> tuple[bytes, str]:
        """A record with the neighbours' fields for text and identifier, in their order."""
        identifier = self._ids.next()
        values: dict[str, Any] = {self._fields.text: insertion.text}
        if identifier is not None:
            values[self._fields.id] = identifier
        order = [key for key in self._surveyed.example if key in values]
        record = {key: values[key] for key in order or values}
        known = "" if identifier is None else str(identifier)
        if self._surveyed.spaced:
            return json.dumps(record, ensure_ascii=False).encode(), known
        return orjson.dumps(record), known


def _document_starts(block: bytes, count: int, *, first: bool) -> Any:
    """Offsets in `block` at which its `count` documents begin."""
    newlines = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
    starts = np.concatenate([[0], newlines])
    if starts[-1] == len(block):
        starts = starts[:-1]
    if first and block.startswith(_BOM):
        starts[0] = len(_BOM)
    if len(starts) != count:
        ends = np.append(starts[1:], len(block))
        filled = [bool(block[a:b].strip()) for a, b in zip(starts, ends, strict=True)]
        starts = starts[filled]
    return starts
