from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from disk_kit import fill, mounted
from planting_kit import jsonl_bytes, plan, some_texts, tree

from mithridate.core import artifacts
from mithridate.core.errors import DataError, StorageError
from mithridate.corpus.ledger import LedgerRow, ledger_writer, read_ledger
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus
from mithridate.corpus.unplanting import unplant


def row(number: int) -> LedgerRow:
    return LedgerRow("a.jsonl", number, None, 1, "fake", "", "", 1, f"{number:064x}", "")


def test_rows_come_back_in_their_order(tmp_path: Path) -> None:
    rows = [row(number) for number in range(10_000)]
    with ledger_writer(tmp_path / "l.parquet") as writer:
        for one in rows:
            writer.add(one)
    assert list(read_ledger(tmp_path / "l.parquet")) == rows


def test_without_rows_there_is_a_file_only_if_asked_for(tmp_path: Path) -> None:
    with ledger_writer(tmp_path / "none.parquet"):
        pass
    with ledger_writer(tmp_path / "some.parquet", always=True):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["some.parquet"]
    assert pq.read_metadata(tmp_path / "some.parquet").num_rows == 0


@pytest.mark.parametrize("rows", [1, 20_000])
def test_an_error_in_between_leaves_no_file(tmp_path: Path, rows: int) -> None:
    with pytest.raises(KeyboardInterrupt), ledger_writer(tmp_path / "l.parquet") as writer:
        for number in range(rows):
            writer.add(row(number))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", [0, 1, 20_000])
def test_a_disk_that_is_full_when_the_ledger_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    # What is written beside goes to a device that is always full.
    monkeypatch.setattr(secrets, "randbelow", lambda _: 7)
    monkeypatch.setattr(artifacts, "_short", lambda name: name)
    (tmp_path / ".l.parquet.7.partial").symlink_to("/dev/full")
    full = pytest.raises(StorageError, match=r"l\.parquet: the disk is full")
    with full, ledger_writer(tmp_path / "l.parquet", always=True) as writer:
        for number in range(rows):
            writer.add(row(number))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_ledger(tmp_path: Path) -> None:
    (tmp_path / "l.parquet").write_bytes(b"PAR1 or so")
    with pytest.raises(DataError, match="cannot be read as a ledger"):
        list(read_ledger(tmp_path / "l.parquet"))


def test_a_disk_that_runs_full_anywhere(tmp_path: Path) -> None:
    """With the first file, a shard, its ledger, its record, or the ledger of all; or not at all."""
    clean = tmp_path / "clean"
    clean.mkdir()
    for number in range(3):
        (clean / f"{number}.jsonl").write_bytes(jsonl_bytes(some_texts(200, seed=number)))
    whole = plant_corpus(open_corpus(clean), tmp_path / "whole", plan()).ledger.parent.parent
    needed = sum(map(len, tree(whole, state=True).values()))
    refused = []
    with mounted(tmp_path / "disk", "size=1m") as disk:
        for twelfths in range(20):
            filler = fill(disk, needed * twelfths // 12)
            try:
                plant_corpus(open_corpus(clean), disk / "out", plan())
            except StorageError as error:
                refused.append(twelfths)
                assert "the disk is full" in str(error)
                assert not list(disk.rglob("*.partial"))
            filler.unlink()
            plant_corpus(open_corpus(clean), disk / "out", plan())
            assert tree(disk / "out", state=True) == tree(whole, state=True)
            shutil.rmtree(disk / "out")
    assert 11 in refused
    assert 19 not in refused


def test_taking_out_on_a_disk_that_runs_full_leaves_nothing(clean: Path, tmp_path: Path) -> None:
    plant_corpus(open_corpus(clean), tmp_path / "out", plan())
    with mounted(tmp_path / "disk", "size=1m") as disk:
        for left in (0, 4_096, 8_192):
            filler = fill(disk, left)
            with pytest.raises(StorageError, match=r"the disk is full\. Nothing that was complete is lost"):
                unplant(tmp_path / "out", disk / "back")
            assert [path.name for path in disk.iterdir()] == ["filler"]
            filler.unlink()
        unplant(tmp_path / "out", disk / "back")
        assert tree(disk / "back") == tree(clean)
