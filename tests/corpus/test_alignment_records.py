from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import zstandard

from mithridate.core.errors import DataError
from mithridate.corpus import alignment_records
from mithridate.corpus.alignment_records import stream_records

VALUES = [{"a": "ä€😀" * 9, "n": [1, {"b": "]},{[\n"}]}, {"x": '\\"['}, 12345, "s", None]


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_list_is_read_alike_in_blocks_of_any_size(
    block: int, ascii_only: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf \n" + json.dumps(VALUES, indent=2, ensure_ascii=ascii_only).encode())
    monkeypatch.setattr(alignment_records, "BLOCK", block)
    found = list(stream_records(path))
    assert [record.value for record in found] == VALUES
    assert [record.place for record in found] == [1, 2, 3, 4, 5]


def test_lines_keep_their_numbers_and_their_bytes(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbf{"a": 1}\r\n\n \n{"b":  NaN}'
    seen: list[bytes] = []
    for name, written in (
        ("a.jsonl", data),
        ("a.jsonl.gz", gzip.compress(data)),
        ("a.jsonl.zst", zstandard.compress(data)),
    ):
        (tmp_path / name).write_bytes(written)
        seen.clear()
        found = list(stream_records(tmp_path / name, lambda part: seen.append(bytes(part))))
        assert [(record.place, record.raw) for record in found] == [(1, b'{"a": 1}'), (4, b'{"b":  NaN}')]
        assert b"".join(seen) == written


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"a": 1}\n{"b": 2}]', "line 2: broken JSON: expected a comma"),
        ('[{"a": 1},\n', "line 2: broken JSON"),
        ('[{"a": 1}', "expected a comma, or the end"),
        ('[{"a": 1}]\n x', "line 2: broken JSON: something stands behind"),
        ('{"a": 1}\n{"a": \n', "line 2: broken JSON"),
    ],
)
def test_what_is_broken_is_named_by_its_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=words):
        list(stream_records(tmp_path / "a.json"))


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1}\n{"a": 2}\n{"a": "\xff"}\n',
        b'[{"a": 1},\n{"a": 2},\n{"a": "\xff"}]',
        b'[{"a": 1},\n{"a": 2}\n]\xc3',
    ],
)
@pytest.mark.parametrize("block", [3, 1 << 20])
def test_what_is_not_utf8_is_named_by_its_line(
    data: bytes, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alignment_records, "BLOCK", block)
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(DataError, match="line 3: cannot be read: not UTF-8"):
        list(stream_records(tmp_path / "a.json"))


def test_a_broken_record_is_not_sought_to_the_end_of_a_large_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.json").write_text('[{"a": }' + " " * 10_000 + "\xff")
    monkeypatch.setattr(alignment_records, "BLOCK", 64)
    monkeypatch.setattr(alignment_records, "MOST_CHARACTERS", 1000)
    seen: list[int] = []
    with pytest.raises(DataError, match="line 1: broken JSON"):
        list(stream_records(tmp_path / "a.json", lambda part: seen.append(len(part))))
