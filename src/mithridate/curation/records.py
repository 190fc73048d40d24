"""What a curation leaves behind: its decisions as rows, and how they came about as a record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from mithridate.core.errors import DataError
from mithridate.core.strict import Strict

CHOSEN: Final = "chosen.jsonl"
DECISIONS: Final = "decisions.parquet"
RECORD: Final = "curation.json"
PAGE: Final = "coverage.html"

NOT_CHOSEN: Final = "not_chosen"
"""What the counts call examples that passed all filters and were left by the method."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One example: where it stands, whether it was kept, and why.

    `line` is that of the file, or the number of the record in a JSON list, from 1. `filter` is the one that
    dropped it, `score` the method's own figure. The nearest chosen example is another one, by the cosine of
    embedded requests.
    """

    file: str
    line: int
    source: str
    kept: bool
    filter: str | None
    reason: str
    score: float | None
    nearest_file: str | None
    nearest_line: int | None
    nearest_similarity: float | None


class FileRecord(Strict):
    """A file that was read."""

    name: str
    sha256: str
    examples: int


class SourceRecord(Strict):
    """What became of the examples of one source; `dropped` counts them by filter, and those not chosen."""

    name: str
    read: int
    dropped: dict[str, int]
    chosen: int


class CurationRecord(Strict):
    """How a curation came about; `said` are the method's own figures."""

    method: str
    n: int
    seed: int
    encoder: str
    options: dict[str, Any]
    filters: dict[str, Any]
    files: list[FileRecord]
    sources: list[SourceRecord]
    said: dict[str, float]
    proxies: dict[str, str]
    versions: dict[str, str]
    seconds: float

    @property
    def read(self) -> int:
        """How many examples were read."""
        return sum(source.read for source in self.sources)


def read_record(folder: Path) -> CurationRecord:
    """The record in a folder that a curation wrote. Raises DataError if there is none or it is damaged."""
    path = folder / RECORD
    try:
        return CurationRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"is no record of a curation: {error}", path=path) from error
