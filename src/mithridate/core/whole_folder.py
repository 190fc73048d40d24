"""Folders that are whole or absent: written beside their place and renamed, however the process ends."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mithridate.core.artifacts import LOCK, exclusive, storage_errors
from mithridate.core.errors import StorageError

_NEW: Final = "new"
_OLD: Final = "old"
_SCRATCH: Final = "scratch"
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Making:
    """A folder in the making: `new` is what it becomes, `scratch` holds working files and goes at the end."""

    new: Path
    scratch: Path


@contextmanager
def whole_folder(
    out: Path, what: str, doing: str, may_replace: Callable[[Path], None] | None = None
) -> Iterator[Making]:
    """Two folders beside `out`, of which one becomes `out` when the block ends well, and both are gone else.

    They lie in `.NAME.DOING`, which the process holds: what a killed one left there goes when the next
    begins, and what another is at work on is left alone. `what` says in errors what `out` is to be, such as
    `a curation`. Without `may_replace`, only an absent or empty folder is taken. With it, what is there is
    replaced when the block ends well, and not before; it raises StorageError for what must stay.

    Raises StorageError where something else is at `out`, or where the system refuses it; RunStateError where
    another process is at work on it.
    """
    out = out.absolute()
    if out.name in ("", ".."):
        raise StorageError(f"{out}: cannot be replaced by {what}; choose another --out")

    def check() -> None:
        if may_replace is not None:
            may_replace(out)
        else:
            _require_free(out, what)

    with storage_errors(out):
        check()  # before anything is made
    beside = _beside(out, doing)
    made = Making(beside / _NEW, beside / _SCRATCH)
    with exclusive(beside):
        try:
            with storage_errors(out):
                _put_back(beside / _OLD, out)
                check()
                for folder in (made.new, made.scratch):
                    shutil.rmtree(folder, ignore_errors=True)
                    folder.mkdir()
                _require_movable(out, beside)
            yield made
            with storage_errors(out):
                if may_replace is None:
                    _require_free(out, what)
                    made.new.rename(out)  # the system replaces an empty folder, and no other
                else:
                    _replace(out, made.new, beside / _OLD)
        finally:
            _clear(beside, out)


def _beside(out: Path, doing: str) -> Path:
    name = os.fsencode(out.name)
    # With anything added, a long name could be too long for the file system.
    shown = out.name if len(name) <= _LONGEST_NAME else hashlib.sha256(name).hexdigest()[:16]
    return out.with_name(f".{shown}.{doing}")


def _require_free(out: Path, what: str) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise StorageError(f"{out}: is no folder; {what} is one. Choose another --out")
    if out.exists() and (names := sorted(path.name for path in out.iterdir())):
        raise StorageError(
            f"{out}: holds other things ({names[0]}); {what} replaces nothing. Choose another --out"
        )


def _require_movable(out: Path, beside: Path) -> None:
    """Raise StorageError where `out` is a mount point: hours later nothing could take its place.

    A move onto a folder that is not empty never comes about, and says whether the system would let it.
    """
    if not out.exists():
        return
    try:
        out.rename(beside)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return
        if error.errno in (errno.EBUSY, errno.EXDEV):
            raise StorageError(
                f"{out}: is a mount point, or in use, so nothing can take its place; choose a folder "
                "in it for --out"
            ) from error
        raise


def _replace(out: Path, new: Path, old: Path) -> None:
    # A folder cannot be renamed onto one that is not empty: the old one steps aside for an instant.
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    new.rename(out)


def _put_back(old: Path, out: Path) -> None:
    """A process that was killed between the two renames of `_replace` had put the old folder aside."""
    if old.exists() and not out.exists():
        old.rename(out)


def _clear(beside: Path, out: Path) -> None:
    """Remove all that lies beside, but for an old folder that nothing took the place of; the lock last."""
    with suppress(OSError):  # what cannot be removed now goes when the next process begins
        _put_back(beside / _OLD, out)
        for leftover in beside.iterdir():
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
        (beside / LOCK).unlink(missing_ok=True)
        beside.rmdir()
