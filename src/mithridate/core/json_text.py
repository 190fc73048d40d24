"""JSON that people wrote: errors that name the line, and halves of characters, which JSON can spell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mithridate.core.errors import DataError


def parse_json(text: str, path: Path, lines_before: int = 0) -> Any:
    """The JSON value of `text`, which stands in the file `path` behind so many lines.

    Raises DataError naming the line.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"broken JSON: {error.msg}", path=path, line=lines_before + error.lineno) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without end
        raise DataError(f"cannot be read as JSON: {error}", path=path, line=lines_before + 1) from error


def has_half_character(text: str) -> bool:
    """Whether `text` holds a lone surrogate, which no file and no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
