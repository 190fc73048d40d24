"""JSON read from files whose errors name file, line and field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mithridate.core.errors import DataError

_BOM = b"\xef\xbb\xbf"
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_IDENTIFIERS = ("_id", "id")


@dataclass(frozen=True, slots=True)
class Record:
    """A JSON object, and where it was read."""

    values: dict[str, Any]
    path: Path
    line: int | None = None

    def text(self, *names: str, default: str | None = None) -> str:
        """The string under the first of `names` that is there; a number as text, whole ones exactly.

        Raises DataError if none is there and there is no default, for what is neither, and for an identifier
        that is a number with a point or an exponent, which can be written in many ways.
        """
        name = next((name for name in names if name in self.values), None)
        if default is not None and (name is None or self.values[name] is None):
            return default
        if name is None:
            found = ", ".join(map(repr, list(self.values)[:8])) or "none"
            raise self.error(f"there is no such field; the fields are {found}", names[0])
        value = self.values[name]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.error(f"must be a string, not {type(value).__name__}", name)
        if isinstance(value, float) and name in _IDENTIFIERS:
            raise self.error(f"is the number {value!r}; put an identifier that is not whole in quotes", name)
        return str(value)

    def items(self, name: str) -> list[Any]:
        """The list under `name`; a single value counts as a list of one, an absent one as an empty list."""
        value = self.values.get(name)
        if value is None:
            return []
        return value if isinstance(value, list) else [value]

    def texts(self, name: str) -> tuple[str, ...]:
        """The strings under `name`, as `items`."""
        for item in self.items(name):
            if not isinstance(item, str):
                raise self.error(f"must hold strings, not {type(item).__name__}", name)
        return tuple(self.items(name))

    def error(self, problem: str, field: str | None = None) -> DataError:
        """A DataError about this record."""
        return DataError(problem, path=self.path, line=self.line, field=field)


def read_records(path: Path) -> Iterator[Record]:
    """The objects of a `.jsonl` file, one a line, streamed; blank lines are passed over.

    Raises DataError for a file that cannot be read, and for a line that is no JSON object.
    """
    with reading(path), path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            content = line.removeprefix(_BOM) if number == 1 else line
            if content.strip():
                values = parse(content, path, number)
                if not isinstance(values, dict):
                    raise DataError("each line must hold a JSON object", path=path, line=number)
                yield Record(values, path, number)


def read_json(path: Path) -> Any:
    """The one JSON value of a file.

    Raises DataError for a file that cannot be read or is no JSON.
    """
    with reading(path):
        content = path.read_bytes()
    return parse(content.removeprefix(_BOM), path, None)


def parse(content: bytes, path: Path, line: int | None) -> Any:
    """JSON from bytes.

    Raises DataError naming the place.
    """
    # The fast parser rounds whole numbers of more than 64 bits.
    if not _LONG_NUMBER.search(content):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(content)
    try:
        # What Python's parser takes and the fast one does not: NaN, and halves of surrogate pairs.
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"broken JSON: {error}", path=path, line=line) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to read `path` into DataErrors."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError("no such file", path=path) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
