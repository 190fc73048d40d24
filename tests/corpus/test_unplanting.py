from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest
from disk_kit import mounted
from planting_kit import FakeAttack, some_texts, tree, write_corpus

from mithridate.core.artifacts import MARKER
from mithridate.core.errors import DataError, RunStateError, StorageError
from mithridate.corpus.doses import PlantPlan, PlantRequest
from mithridate.corpus.ledger import StateFolder, read_ledger
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus
from mithridate.corpus.unplanting import unplant


def planted(tmp_path: Path, kind: str) -> Path:
    clean = write_corpus(tmp_path / "clean", kind, some_texts(40))
    plant_corpus(open_corpus(clean), tmp_path / "out", PlantPlan((PlantRequest(FakeAttack(), count=12),)))
    return tmp_path / "out"


def change(path: Path, at: int) -> None:
    # Written anew, not in place: a kept original may be a link to the corpus.
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet", "dataset"])
def test_an_altered_shard_is_refused(tmp_path: Path, kind: str) -> None:
    out = planted(tmp_path, kind)
    row = next(iter(read_ledger(out / "_mithridate" / "ledger.parquet")))
    change(out / row.shard, 40)
    with pytest.raises(DataError, match="changed since"):
        unplant(out, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_an_altered_planted_document_is_refused(tmp_path: Path) -> None:
    out = planted(tmp_path, "jsonl")
    row = next(iter(read_ledger(out / "_mithridate" / "ledger.parquet")))
    assert row.byte_offset is not None
    change(out / row.shard, row.byte_offset + 20)
    with pytest.raises(DataError, match=f"planted at byte {row.byte_offset}"):
        unplant(out, tmp_path / "back")


def test_altered_text_files_are_refused(tmp_path: Path) -> None:
    out = planted(tmp_path, "txt")
    row = next(iter(read_ledger(out / "_mithridate" / "ledger.parquet")))
    change(out / row.document_id, 1)
    with pytest.raises(DataError, match="missing or changed"):
        unplant(out, tmp_path / "back")
    change(out / row.document_id, 1)
    change(out / "part0" / "0000.txt", 1)
    with pytest.raises(DataError, match="changed since"):
        unplant(out, tmp_path / "back")


def test_a_changed_original_is_noticed(tmp_path: Path) -> None:
    out = planted(tmp_path, "parquet")
    kept = next((out / "_mithridate" / "originals").rglob("*.parquet"))
    assert kept.stat().st_nlink == 2, "a hard link costs no space"
    change(kept, 40)
    with pytest.raises(DataError, match="kept original was changed"):
        unplant(out, tmp_path / "back")
    kept.unlink()
    with pytest.raises(DataError, match="is missing"):
        unplant(out, tmp_path / "back")


def test_files_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    out = planted(tmp_path, "jsonl")
    (out / "notes.md").write_text("mine")
    with pytest.raises(DataError, match=r"notes\.md"):
        unplant(out, tmp_path / "back")


def test_missing_shard(tmp_path: Path) -> None:
    out = planted(tmp_path, "jsonl")
    (out / "part1.jsonl").unlink()
    with pytest.raises(DataError, match="missing"):
        unplant(out, tmp_path / "back")


def test_only_complete_plantings_and_empty_places(tmp_path: Path) -> None:
    with pytest.raises(RunStateError, match="nothing was planted here"):
        unplant(tmp_path, tmp_path / "back")
    out = planted(tmp_path, "jsonl")
    marker = StateFolder(out).path / MARKER
    marker.rename(tmp_path / "aside")
    with pytest.raises(RunStateError, match="no complete planting"):
        unplant(out, tmp_path / "back")
    (tmp_path / "aside").rename(marker)
    with pytest.raises(StorageError, match="not empty"):
        unplant(out, tmp_path / "clean")
    before = tree(out, state=True)
    report = unplant(out, tmp_path / "back")
    assert (report.shards, report.removed) == (3, 12)
    assert tree(out, state=True) == before


def test_into_the_folder_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = planted(tmp_path, "jsonl")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    unplant(Path("../out"), Path())
    assert tree(Path.cwd()) == tree(tmp_path / "clean")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clean", "here", "out"]
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    change(out / "part1.jsonl", 40)
    with pytest.raises(DataError, match="changed since"):
        unplant(Path("../out"), Path())
    assert list(tmp_path.joinpath("other").iterdir()) == []


def test_into_a_disk_of_its_own(tmp_path: Path) -> None:
    out = planted(tmp_path, "parquet")
    with mounted(tmp_path / "disk", "size=1m") as disk:
        unplant(out, disk)
        assert tree(disk) == tree(tmp_path / "clean")


def test_what_a_kill_left_is_no_hindrance(tmp_path: Path) -> None:
    out = planted(tmp_path, "txt")
    for left in (tmp_path / ".back.partial", tmp_path / "empty" / ".unplanting.partial"):
        left.mkdir(parents=True)
        (left / "half").write_text("x")
    unplant(out, tmp_path / "back")
    unplant(out, tmp_path / "empty")
    assert tree(tmp_path / "back") == tree(tmp_path / "empty") == tree(tmp_path / "clean")
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "txt"])
def test_a_planted_shard_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    out, real = planted(tmp_path, kind), io.open

    def refuse(file: object, mode: str = "r", *more: object, **named: object) -> object:
        if str(file).startswith(str(out / "part")):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return real(file, mode, *more, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(io, "open", refuse)
    with pytest.raises(DataError, match=r"part.*: cannot be read: Permission denied"):
        unplant(out, tmp_path / "back")
    assert not (tmp_path / "back").exists()
