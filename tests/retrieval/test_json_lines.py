from __future__ import annotations

from pathlib import Path

import pytest

from mithridate.core.errors import DataError
from mithridate.retrieval.json_lines import read_records
from mithridate.retrieval.sources import read_lines


def test_long_whole_numbers_stay_apart_as_identifiers(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    ids = ["100000000000000000000001", "100000000000000000000002", "-9223372036854775809", "7"]
    path.write_text("".join(f'{{"id": {one}, "text": "some words"}}\n' for one in ids))
    assert [document.id for document in read_lines(path)] == ids


@pytest.mark.parametrize("written", ["1.50", "1e23", "NaN"])
def test_an_identifier_is_no_number_with_a_point(tmp_path: Path, written: str) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(f'{{"id": "a", "text": "x"}}\n{{"_id": {written}, "text": 1.5}}\n')
    with pytest.raises(DataError, match=r"line 2, field '_id': is the number .* in quotes"):
        list(read_lines(path))
    assert [record.text("text") for record in read_records(path)] == ["x", "1.5"]
