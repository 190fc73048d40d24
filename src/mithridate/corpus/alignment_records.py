"""Records of alignment data one at a time: JSON lines or a JSON list, plain or compressed, in any size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import orjson

from mithridate.core.errors import DataError
from mithridate.core.json_text import parse_json
from mithridate.corpus.lines import line_blocks
from mithridate.corpus.streams import BLOCK, Codec, Watcher, open_reader, read_errors

MOST_CHARACTERS: Final = 1 << 28
"""The longest record of a list: one that is broken is not read to the end of the file."""

_BOM: Final = b"\xef\xbb\xbf"
_BLANK: Final = " \t\r\n"
_DECODER: Final = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One record: its value, and its `line` in the file, or its `number` in a list, from 1.

    `raw` are the bytes of its line without the line end; None in a list.
    """

    value: Any
    line: int | None = None
    number: int | None = None
    raw: bytes | None = None

    @property
    def place(self) -> int:
        """Its line, or its number in the list."""
        return self.line or self.number or 0


def codec_of(path: Path) -> Codec:
    """How the file is compressed, by the end of its name."""
    try:
        return Codec(path.suffix)
    except ValueError:
        return Codec.PLAIN


def stream_records(path: Path, on_raw: Watcher | None = None) -> Iterator[RawRecord]:
    """The records of a file in their order; blank lines are passed over. `on_raw` sees the file's own bytes.

    A file that opens with `[` holds a list. Raises DataError, naming the line, where the file cannot be read
    or is no JSON.
    """
    with read_errors(path), open_reader(path, codec_of(path), on_raw) as stream:
        opening = b""
        while not opening.removeprefix(_BOM).strip() or len(opening) < len(_BOM):
            if not (block := stream.read(BLOCK)):
                break
            opening += block
        opening = opening.removeprefix(_BOM)
        if opening.lstrip()[:1] == b"[":
            yield from _listed(opening, stream, path)
        else:
            yield from _lines(opening, stream, path)


class _Rejoined:
    """A stream with what was read of it put back in front."""

    def __init__(self, opening: bytes, stream: IO[bytes]) -> None:
        self._opening, self._stream = opening, stream

    def read(self, size: int = -1) -> bytes:
        """What was put back, whole, and then the stream."""
        if self._opening:
            found, self._opening = self._opening, b""
            return found
        return self._stream.read(size)


def _lines(opening: bytes, stream: IO[bytes], path: Path) -> Iterator[RawRecord]:
    number = 0
    for block in line_blocks(_Rejoined(opening, stream)):
        for line in block.removesuffix(b"\n").split(b"\n"):
            number += 1
            raw = line.rstrip(b"\r")
            if raw.strip():
                yield RawRecord(_value(raw, path, number), line=number, raw=raw)


def _value(raw: bytes, path: Path, line: int) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        # Python's parser takes NaN and halves of characters, and says what is wrong in its own words.
        return parse_json(_text(raw, path, line - 1), path, line - 1)


def _text(raw: bytes, path: Path, lines_before: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = lines_before + raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"cannot be read: not UTF-8 ({error.reason})", path=path, line=line) from error


class _Scanner:
    """The text of a file from where it has been read to, and how many lines were before."""

    def __init__(self, opening: bytes, stream: IO[bytes], path: Path) -> None:
        self._stream, self._path = stream, path
        self._bytes, self.text, self.at, self._lines = b"", "", 0, 0
        self._take(opening)

    def _take(self, block: bytes) -> None:
        """Add whole characters alone; what is left of one waits for the next block."""
        block = self._bytes + block
        whole = len(block)
        for back in range(1, min(4, len(block)) + 1):
            if block[-back] >= 0xC0:
                width = 2 + (block[-back] >= 0xE0) + (block[-back] >= 0xF0)
                whole -= back if width > back else 0
                break
            if block[-back] < 0x80:
                break
        self._lines += self.text.count("\n", 0, self.at)
        left = self.text[self.at :]
        self.text = left + _text(block[:whole], self._path, self._lines + left.count("\n"))
        self.at, self._bytes = 0, block[whole:]

    def more(self, least: int = BLOCK) -> bool:
        """Read on; False at the end of the file."""
        block = self._stream.read(least)
        if block:
            self._take(block)
        elif self._bytes:
            _text(self._bytes, self._path, self._lines + self.text.count("\n"))
        return bool(block)

    def next(self) -> str:
        """The next character that is not blank, which is not passed over; empty at the end of the file."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _BLANK:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def value(self) -> Any:
        """The JSON value that begins here, which is passed over."""
        while True:
            try:
                found, end = _DECODER.raw_decode(self.text, self.at)
            except (json.JSONDecodeError, RecursionError, ValueError):
                left = len(self.text) - self.at
                # As much again as there is, so that a long record is not tried too often.
                if left < MOST_CHARACTERS and self.more(max(BLOCK, left)):
                    continue
                parse_json(self.text[self.at :], self._path, self.lines_before)
                raise self.error("broken JSON") from None
            # A number at the end of the text may go on in the file.
            if end == len(self.text) and self.more():
                continue
            self.at = end
            return found

    @property
    def lines_before(self) -> int:
        return self._lines + self.text.count("\n", 0, self.at)

    def error(self, problem: str) -> DataError:
        return DataError(problem, path=self._path, line=self.lines_before + 1)


def _listed(opening: bytes, stream: IO[bytes], path: Path) -> Iterator[RawRecord]:
    scanner = _Scanner(opening, stream, path)
    scanner.next()
    scanner.at += 1
    number = 0
    if scanner.next() == "]":
        scanner.at += 1
    else:
        while True:
            number += 1
            scanner.next()
            yield RawRecord(scanner.value(), number=number)
            sign = scanner.next()
            scanner.at += 1
            if sign == "]":
                break
            if sign != ",":
                raise scanner.error("broken JSON: expected a comma, or the end of the list")
    if scanner.next():
        raise scanner.error("broken JSON: something stands behind the end of the list")
