"""Files that are whole or absent, completion that is marked last, directories of one process."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mithridate.core.errors import RunStateError, StorageError

MARKER = "done.json"
LOCK = "run.lock"
_LONGEST_SHOWN = 60


@contextmanager
def storage_errors(path: Path | str) -> Iterator[None]:
    """Turn the operating system's refusals to write at `path` into StorageErrors that say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"{path}: the disk is full. What was complete is kept; "
                "free some space and run the same command again"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StorageError(
                f"{path}: no permission to write here. Choose another --out or change its permissions"
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            raise StorageError(
                f"{error.filename or path}: something else of this name is in the way. "
                "Choose another --out or move it"
            ) from error
        raise


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to: renamed onto it when the block ends well, removed when not."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            yield beside
            with beside.open("rb") as handle:
                os.fsync(handle.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a whole file, or nothing."""
    with atomic_path(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


def fingerprint(value: Any) -> str:
    """A short, stable hash of any JSON-like value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two JSON-like descriptions of a run, each as `key.below (old there, new now)`.

    Tuples and lists are alike, and so are a key without a value and a key that is not there.
    """
    # Through JSON, because one side was read from a file and the other was not.
    old, new = (json.loads(json.dumps(dict(side), default=str)) for side in (there, now))
    return list(_differing(old, new, ""))


def _differing(there: dict[str, Any], now: dict[str, Any], above: str) -> Iterator[str]:
    for key in sorted({*there, *now}):
        old, new = there.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differing(old, new, f"{above}{key}.")
        elif old != new:
            yield f"{above}{key} ({_shortened(old)} there, {_shortened(new)} now)"


def _shortened(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def mark_done(folder: Path, record: Mapping[str, Any]) -> None:
    """Declare `folder` complete; called after everything in it has been written."""
    write_atomic(folder / MARKER, json.dumps(dict(record), indent=1, sort_keys=True, default=str) + "\n")


def done_record(folder: Path) -> dict[str, Any] | None:
    """What `mark_done` recorded, or None where the folder is absent or incomplete."""
    marker = folder / MARKER
    if not marker.exists():
        return None
    record: dict[str, Any] = json.loads(marker.read_text())
    return record


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process alone; the kernel lets go of it when the process dies, however it dies.

    Raises RunStateError if another process holds it, StorageError where it cannot be made or locked.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / LOCK).open("a+")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            holder = handle.read().strip() or "unknown"
            raise RunStateError(
                f"{folder}: another run (process {holder}) is using this directory. "
                "Wait for it, or give this one another --out"
            ) from error
        except OSError as error:
            raise StorageError(
                f"{folder}: this file system cannot lock files ({error}). Choose an --out on another"
            ) from error
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield
