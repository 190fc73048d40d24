"""Unplanting: the original bytes again, taken from the planted corpus and proved by their hashes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import IO

from mithridate.core.artifacts import atomic_path, done_record, storage_errors
from mithridate.core.errors import DataError, RunStateError, StorageError
from mithridate.core.tables import read_rows
from mithridate.corpus.ledger import LedgerRow, OnShard, ShardRecord, StateFolder, read_ledger
from mithridate.corpus.readers import STATE_FOLDER
from mithridate.corpus.shards import sha256_bytes
from mithridate.corpus.streams import BLOCK, read_errors, sha256_of
from mithridate.corpus.textfolder import FolderDigest, TextFolder, copy_files, text_names

_BESIDE = ".unplanting.partial"
_ALTERED = (
    "changed since it was planted, so the original cannot be proved. Plant again from the original corpus"
)


@dataclass(frozen=True, slots=True)
class UnplantReport:
    """What was restored: files (or folders of text files), bytes, and planted documents taken out."""

    shards: int
    bytes: int
    removed: int


def unplant(planted: Path, out: Path, *, on_shard: OnShard | None = None) -> UnplantReport:
    """Restore to the new folder `out` the corpus in which `planted` was planted, byte for byte.

    Every file is checked against the hash of the original. After an error `out` is what it was: absent, or
    empty. Raises RunStateError if `planted` is no complete planting, DataError naming the shard that was
    altered or cannot be read, StorageError if `out` is not empty or cannot be written to.
    """
    planted, out = Path(planted), Path(out)
    state = StateFolder(planted)
    if not state.path.is_dir():
        raise RunStateError(f"{planted}: nothing was planted here; name the folder that `plant` wrote to")
    if done_record(state.path) is None:
        raise RunStateError(
            f"{planted}: no complete planting here. If it was interrupted, run its `plant` again first"
        )
    with storage_errors(out):
        begun = out.is_dir()
        beside = out / _BESIDE if begun else out.with_name(f".{out.name}.partial")
        if out.exists() and (not begun or any(path != beside for path in out.iterdir())):
            raise StorageError(f"{out}: is not empty; choose another --out")
    if out.resolve() == planted.resolve() or planted.resolve() in out.resolve().parents:
        raise StorageError(f"{out}: must lie outside the planted corpus {planted}")
    records = read_rows(state.shards, ShardRecord)
    _check_listing(planted, records)
    rows = _RowsByShard(read_ledger(state.ledger))
    removed = 0
    with storage_errors(out):
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        try:
            for record in records:
                with read_errors(planted):
                    removed += _restore(state, record, rows.of(record.shard), beside)
                if on_shard is not None:
                    on_shard(record, len(records))
            if begun:
                # It may be where somebody stands, or a disk of its own: it is not replaced but filled.
                for path in beside.iterdir():
                    path.rename(out / path.name)
            else:
                beside.rename(out)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return UnplantReport(len(records), sum(record.size for record in records), removed)


class _RowsByShard:
    """The ledger's rows of one shard after another, in the order in which they were merged."""

    def __init__(self, rows: Iterator[LedgerRow]) -> None:
        self._groups = groupby(rows, key=lambda row: row.shard)
        self._next = next(self._groups, None)

    def of(self, shard: str) -> Iterator[LedgerRow]:
        if self._next is None or self._next[0] != shard:
            return
        yield from self._next[1]
        self._next = next(self._groups, None)


def _check_listing(planted: Path, records: list[ShardRecord]) -> None:
    """Refuse files that no record knows: they would be lost silently."""
    files = {record.shard for record in records if record.format != TextFolder.format}
    folders = {record.shard for record in records if record.format == TextFolder.format}
    for path in planted.rglob("*"):
        name = path.relative_to(planted).as_posix()
        if name.split("/", 1)[0] == STATE_FOLDER or name in files or path.is_dir():
            continue
        if path.parent.relative_to(planted).as_posix() in folders and path.suffix == ".txt":
            continue  # judged with its folder
        raise DataError("was not there when the corpus was planted; move it away first", path=path)


def _restore(state: StateFolder, record: ShardRecord, rows: Iterator[LedgerRow], out: Path) -> int:
    """Restore one shard and return how many planted documents it had."""
    source, target = state.out / record.shard, out / record.shard
    if record.format == TextFolder.format:
        return _restore_folder(source, target, record, rows)
    if not source.exists():
        raise DataError("is missing from the planted corpus", path=source)
    if record.original:
        return _restore_kept(state, record, rows, target)
    with source.open("rb") as file, atomic_path(target) as beside:
        with beside.open("wb") as sink:
            removed, digest = _cut_out(source, file, sink, rows)
        if digest != record.sha256:
            raise DataError(_ALTERED, path=source)
    return removed


def _cut_out(path: Path, file: IO[bytes], sink: IO[bytes], rows: Iterator[LedgerRow]) -> tuple[int, str]:
    """Copy `file` to `sink` without the bytes of `rows`; the number of rows, and the hash of the copy."""
    digest, position, removed = hashlib.sha256(), 0, 0

    def copy(until: int | None) -> None:
        nonlocal position
        while until is None or position < until:
            data = file.read(BLOCK if until is None else min(BLOCK, until - position))
            if not data:
                return
            digest.update(data)
            sink.write(data)
            position += len(data)

    for row in rows:
        assert row.byte_offset is not None
        copy(row.byte_offset)
        data = file.read(row.byte_length)
        position += len(data)
        if sha256_bytes(data) != row.sha256:
            raise DataError(f"the document planted at byte {row.byte_offset} is {_ALTERED}", path=path)
        removed += 1
    copy(None)
    return removed, digest.hexdigest()


def _restore_kept(state: StateFolder, record: ShardRecord, rows: Iterator[LedgerRow], target: Path) -> int:
    """Put the kept original back."""
    source, kept = state.out / record.shard, state.path / record.original
    if sha256_of(source) != record.planted_sha256:
        raise DataError(_ALTERED, path=source)
    if not kept.exists():
        raise DataError("the original of this shard was kept here, and is missing", path=kept)
    if sha256_of(kept) != record.sha256:
        raise DataError("the kept original was changed since; restore it from elsewhere", path=kept)
    with atomic_path(target) as beside:
        shutil.copyfile(kept, beside)
    return sum(1 for _ in rows)


def _restore_folder(source: Path, target: Path, record: ShardRecord, rows: Iterator[LedgerRow]) -> int:
    """Copy the text files of a folder that were there before."""
    planted: set[str] = set()
    for row in rows:
        name = row.document_id.rsplit("/", 1)[-1]
        path = source / name
        if not path.exists() or sha256_of(path) != row.sha256:
            raise DataError(f"this planted document is missing or {_ALTERED}", path=path)
        planted.add(name)
    names = [name for name in text_names(source) if name not in planted]
    digest = FolderDigest()
    for name in names:
        digest.add(name, (source / name).read_bytes())
    if digest.hexdigest() != record.sha256:
        raise DataError(f"a text file in this folder is missing, new or {_ALTERED}", path=source)
    copy_files(source, target, names)
    return len(planted)
