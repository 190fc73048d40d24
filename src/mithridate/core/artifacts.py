"""Files that are whole or absent, completion that is marked last, directories of one process."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

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
        if error.errno is None or isinstance(error, ConnectionError):
            raise  # of a library, or of a pipe to another process: not the system's word on a file
        raise StorageError(_refusal(path, error)) from error


def _refusal(path: Path | str, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"{path}: the disk is full. Nothing that was complete is lost; "
            "free some space and run the same command again"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path}: no permission to write here. Choose another --out or change its permissions"
    place = error.filename or path
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        return f"{place}: something else of this name is in the way. Choose another --out or move it"
    if error.errno == errno.ENAMETOOLONG:
        return f"{place}: the name is too long for this file system. Shorten it, or choose another --out"
    return f"{place}: the system refuses this place ({error.strerror}). Mend it, or choose another --out"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to: renamed onto it when the block ends well, removed when not."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not the number of the process: another machine may have one of the same.
        beside = path.with_name(f".{_short(path.name)}.{secrets.randbelow(10**12)}.partial")
        try:
            yield beside
            with beside.open("rb") as handle:
                os.fsync(handle.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


def _short(name: str) -> str:
    """A stand-in for a name, which with anything added could be too long for a file system."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16]


def sweep(path: Path) -> None:
    """Remove what killed processes left of writing `path`; only for who alone may write it."""
    for leftover in path.parent.glob(f".{_short(path.name)}.*.partial"):
        leftover.unlink(missing_ok=True)


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
    """What `mark_done` recorded, or None where the folder is absent or incomplete.

    Raises RunStateError if the record is damaged.
    """
    marker = folder / MARKER
    if not marker.exists():
        return None
    try:
        record = json.loads(marker.read_bytes())
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise RunStateError(
            f"{marker}: is damaged, so nobody can tell what is complete here. "
            "Remove it and run the same command again"
        )
    return record


@contextmanager
def exclusive(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold `folder` for this process alone; the kernel lets go of it when the process dies, however it dies.

    Another that holds it is waited for with `wait`. Its holder may remove the folder. Raises RunStateError
    if another process holds it, StorageError where it cannot be made or locked.
    """
    with storage_errors(folder):
        handle = _locked(folder, wait=wait)
    with handle:
        # Only what others are told of: a full disk is for the work to notice.
        with suppress(OSError):
            os.ftruncate(handle.fileno(), 0)
            os.write(handle.fileno(), str(os.getpid()).encode())
        yield


def _locked(folder: Path, *, wait: bool) -> IO[str]:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = (folder / LOCK).open("a+")
        except FileNotFoundError:
            continue  # removed in between by who held it
        try:
            _lock(handle, folder, wait=wait)
            if _is_at(handle, folder / LOCK):
                return handle
        except BaseException:
            handle.close()
            raise
        handle.close()  # removed by who held it: this is no longer the lock of the folder


def _lock(handle: IO[str], folder: Path, *, wait: bool) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
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


def _is_at(handle: IO[str], path: Path) -> bool:
    """Whether the open file is still the one at `path`."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False
