from __future__ import annotations

import json
from pathlib import Path

import pytest
from curation_kit import curated, record, records, write_lines

from mithridate.core.errors import DataError, StorageError
from mithridate.core.tables import read_rows
from mithridate.corpus.alignment_data import read_conversations
from mithridate.curation.records import CHOSEN, DECISIONS, Decision, read_record
from mithridate.curation.writing import (
    Form,
    new_folder,
    record_of,
    write_chosen,
    write_decisions,
    write_record,
)


def test_chosen_lines_are_the_input_s_own_bytes(tmp_path: Path) -> None:
    lines = [json.dumps(one, indent=None, separators=(" ,", ":  ")).encode() for one in records(9)]
    data = tmp_path / "a.jsonl"
    data.write_bytes(b"\xef\xbb\xbf" + b"\r\n\n".join(lines))
    write_chosen(curated(data, tmp_path / "s", 4), tmp_path, Form.OWN)
    written = (tmp_path / CHOSEN).read_bytes().splitlines()
    assert len(written) == 4
    assert [line for line in lines if line in written] == written


def test_records_of_a_list_and_messages_are_lines_too(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(records(3), indent=1))
    alpaca = {"instruction": "Größe?", "input": "", "output": "Wie groß es ist. " * 20, "odd": "\ud800"}
    write_lines(tmp_path / "b.jsonl", [alpaca])
    found = curated(tmp_path, tmp_path / "s", 4)
    write_chosen(found, tmp_path, Form.OWN)
    assert [json.loads(line) for line in (tmp_path / CHOSEN).read_text().splitlines()] == [
        *records(3),
        alpaca,
    ]
    write_chosen(found, tmp_path, Form.MESSAGES)
    told = read_conversations(tmp_path / CHOSEN)
    assert len(told) == 4
    assert told[-1]["messages"][1] == {"role": "assistant", "content": alpaca["output"]}
    lines = (tmp_path / CHOSEN).read_text(encoding="utf-8").splitlines()
    assert {"messages"} == {key for line in lines for key in json.loads(line)}


def test_every_example_has_a_decision_with_its_reason(tmp_path: Path) -> None:
    found = records(6)
    lines = [*found, found[2], record("Why?", "So.", source="c")]
    result = curated(write_lines(tmp_path / "a.jsonl", lines), tmp_path / "s", 3)
    write_decisions(result, tmp_path)
    rows = read_rows(tmp_path / DECISIONS, Decision)
    assert [row.line for row in rows] == list(range(1, 9))
    kept = [row for row in rows if row.kept]
    assert len(kept) == 3
    assert {row.line for row in kept} == set(result.found.places[result.chosen].tolist())
    assert (rows[6].filter, rows[6].reason) == ("exact_duplicate", "the same as a.jsonl:3")
    assert (rows[7].filter, rows[7].reason) == ("length", "reply of 3 characters, shorter than 200")
    assert all(row.reason for row in rows)
    for row in rows:
        assert row.nearest_line in {one.line for one in kept}
        assert not (row.kept and row.nearest_line == row.line)
    same = rows[6].nearest_similarity
    assert same is not None and (same > 0.99) == rows[2].kept


def test_a_single_chosen_one_has_no_nearest(tmp_path: Path) -> None:
    result = curated(write_lines(tmp_path / "a.jsonl", records(2)), tmp_path / "s", 1)
    write_decisions(result, tmp_path)
    (kept,) = (row for row in read_rows(tmp_path / DECISIONS, Decision) if row.kept)
    assert kept.nearest_line is kept.nearest_similarity is None


def test_the_record_counts_every_example_once(tmp_path: Path) -> None:
    lines = [*records(6), records(6)[0], record("Why?", "So.", source="c")]
    result = curated(write_lines(tmp_path / "a.jsonl", lines), tmp_path / "s", 3)
    write_record(record_of(result, "e", 1.0, {"a figure": 2.0}), tmp_path)
    found = read_record(tmp_path)
    assert (found.read, found.n, found.encoder) == (8, 3, "e")
    assert [source.name for source in found.sources] == ["a", "b", "c"]
    for source in found.sources:
        assert source.read == source.chosen + sum(source.dropped.values())
    assert found.sources[2].dropped == {"length": 1}
    (tmp_path / "curation.json").write_text("{}")
    with pytest.raises(DataError, match="no record of a curation"):
        read_record(tmp_path)


def test_a_file_that_changed_meanwhile_is_noticed(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "a.jsonl", records(4))
    result = curated(data, tmp_path / "s", 2)
    write_lines(data, records(4, seed=1))
    with pytest.raises(DataError, match="was changed while it was read"):
        write_chosen(result, tmp_path, Form.OWN)


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(RuntimeError), new_folder(out) as (new, scratch):
        (new / "x").touch()
        (scratch / "y").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    out.mkdir()
    with new_folder(out) as (new, _):
        (new / "x").touch()
        assert not (out / "x").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "x"]
    with pytest.raises(StorageError, match=r"holds other things \(x\)"), new_folder(out):
        pass
    with pytest.raises(StorageError, match="is no folder"), new_folder(out / "x"):
        pass
    with pytest.raises(StorageError, match="holds other things"), new_folder(Path("/")):
        pass
