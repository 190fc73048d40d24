"""Measurements, and rows of localisation and of price lists, as records for programs: JSON and CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Iterable
from typing import Any

import orjson

from mithridate.core.located import Located
from mithridate.core.prices import Priced
from mithridate.core.types import Measurement
from mithridate.report.text import visible

FIELDS = (
    "stage",
    "arm",
    "attack",
    "condition",
    "metric",
    "value",
    "low",
    "high",
    "n",
    "seed",
    "template",
    "dose",
    "cell",
    "model",
)
LOCATED_FIELDS = tuple(field.name for field in dataclasses.fields(Located))
PRICED_FIELDS = tuple(field.name for field in dataclasses.fields(Priced))
# A spreadsheet reads a text field that begins so as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def records(rows: Iterable[Measurement | Located | Priced]) -> list[dict[str, Any]]:
    """One dictionary a row, its keys in the order of FIELDS, or of the fields of rows of another kind.

    What is not a finite number becomes None.
    """
    return [{field: _finite(getattr(row, field)) for field in _fields(row)} for row in rows]


def _fields(row: Measurement | Located | Priced) -> tuple[str, ...]:
    if isinstance(row, Priced):
        return PRICED_FIELDS
    return FIELDS if isinstance(row, Measurement) else LOCATED_FIELDS


def to_json(rows: Iterable[Measurement | Located | Priced]) -> str:
    """The records as a JSON list."""
    return orjson.dumps(records(rows), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def to_csv(rows: Iterable[Measurement]) -> str:
    """The records as CSV with a header; absent figures are empty, no text can pass for a formula."""
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    for record in records(rows):
        writer.writerow({field: _inert(value) for field, value in record.items()})
    return out.getvalue()


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _inert(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # Judged before control characters are made visible: a spreadsheet may skip over those it cannot show.
    return f"'{visible(value)}" if value.startswith(_FORMULA) else visible(value)
