"""Which checkpoint stands in a folder: a hash of its weights, and whether they are those that are meant."""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache
from pathlib import Path

from mithridate.core.errors import CheckpointError

# A file this young may be written again without its times saying so: clocks of file systems tick.
_SETTLED_NS = 2 * 10**9


def folder_hash(folder: Path | str) -> str:
    """SHA-256 over the names and whole contents of the safetensors files of a checkpoint: 64 hex digits.

    All bytes are read, at the speed of the disk, and a process remembers what it read of a file for as long
    as the file's times, size and place are the same. The configuration and the tokenizer are not in it.
    Raises CheckpointError, which names the folder, where it is gone, holds no weights, or cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: the checkpoint is gone: there is no such folder; put it back where it was"
        )
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(
            f"{folder}: the checkpoint is gone: the folder holds no *.safetensors; put it back where it was"
        )
    hashed = hashlib.sha256()
    try:
        for path in files:
            hashed.update(f"{path.name} {_content(path)}\n".encode(errors="surrogateescape"))
    except OSError as error:
        raise CheckpointError(f"{folder}: the weights cannot be read: {error.strerror or error}") from error
    return hashed.hexdigest()


def require_weights(folder: Path | str, wanted: str, what: str) -> None:
    """Raise CheckpointError unless `folder_hash` of `folder` is `wanted`; `what` is who needs the folder."""
    found = folder_hash(folder)
    if found != wanted:
        raise CheckpointError(
            f"{folder}: another checkpoint stands there now than when the {what} was made (its weights "
            f"have the hash {found[:16]}…, and {wanted[:16]}… is expected); put that one back, or make the "
            f"{what} anew"
        )


def _content(path: Path) -> str:
    stat = path.stat()
    if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) < _SETTLED_NS:
        return _read(path)
    return _remembered(
        path.resolve(), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
    )


@lru_cache(maxsize=1024)
def _remembered(path: Path, *_: int) -> str:
    return _read(path)


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
