"""The folder that a healing writes: it is as it was, or whole, however the process ends."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mithridate.core.artifacts import LOCK, exclusive, storage_errors
from mithridate.core.errors import ConfigError, StorageError
from mithridate.core.healed import HEALED, OURS, read_healed

_NEW = "new"
_OLD = "old"


@contextmanager
def taking_the_place_of(out: Path, inputs: Iterable[Path]) -> Iterator[Path]:
    """A folder beside `out` to write to, which becomes `out` when the block ends well.

    What a healing wrote to `out` before is replaced then, and not before. Raises StorageError where `out` is
    something else, or one of `inputs` lies in it; RunStateError where another process is at work on it.
    """
    out = out.absolute()
    _require_apart(out, inputs)
    beside = out.with_name(f".{out.name}.healing")
    with exclusive(beside):
        try:
            with storage_errors(out):
                _put_back(beside / _OLD, out)
                require_free(out)
                shutil.rmtree(beside / _NEW, ignore_errors=True)
                (beside / _NEW).mkdir()
                _require_movable(out, beside)
            yield beside / _NEW
            with storage_errors(out):
                _replace(out, beside / _NEW, beside / _OLD)
        finally:
            _clear(beside, out)


def require_utf8(*paths: Path) -> None:
    """Raise ConfigError for a path that is no text in UTF-8: no record could name it."""
    for path in paths:
        try:
            str(path.resolve()).encode()
        except UnicodeEncodeError:
            shown = os.fsencode(path.resolve()).decode("utf-8", "backslashreplace")
            raise ConfigError(
                f"{shown}: the path is not UTF-8, so no record can name it; rename it, or choose another"
            ) from None


def require_free(out: Path) -> None:
    """Raise StorageError unless `out` is absent, empty, or what a healing wrote."""
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise StorageError(f"{out}: is no folder; a healed model is one. Choose another --out")
    names = {path.name for path in out.iterdir()}
    if not names:
        return
    if HEALED not in names or (strange := sorted(names - OURS)):
        what = f"holds other things ({strange[0]})" if HEALED in names else "is not empty"
        raise StorageError(
            f"{out}: {what} and would be replaced by a healed model; choose another --out, or empty it"
        )
    read_healed(out)


def _require_movable(out: Path, beside: Path) -> None:
    """Raise StorageError where `out` is a mount point: hours later it could not be put aside.

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


def _require_apart(out: Path, inputs: Iterable[Path]) -> None:
    if out.name in ("", ".."):
        raise StorageError(f"{out}: cannot be replaced by a healed model; choose another --out")
    for path in inputs:
        if path.resolve().is_relative_to(out.resolve()):
            raise StorageError(
                f"{out}: holds {path}, which is to be read, and would be replaced; choose another --out"
            )
        if (path / "config.json").exists() and out.resolve().is_relative_to(path.resolve()):
            raise StorageError(f"{out}: lies within the checkpoint {path}; choose another --out")


def _clear(beside: Path, out: Path) -> None:
    """Remove all that lies beside, but for an old folder that nothing took the place of; the lock last."""
    with suppress(OSError):  # what cannot be removed now goes when the next healing begins
        _put_back(beside / _OLD, out)
        for leftover in beside.iterdir():
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
        (beside / LOCK).unlink(missing_ok=True)
        beside.rmdir()


def _put_back(old: Path, out: Path) -> None:
    """A process that was killed between the two renames of `_replace` had put the old folder aside."""
    if old.exists() and not out.exists():
        old.rename(out)


def _replace(out: Path, new: Path, old: Path) -> None:
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    new.rename(out)
