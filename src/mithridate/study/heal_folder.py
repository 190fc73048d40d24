"""The folder that a healing writes: what it may replace, and what it must lie apart from."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from mithridate.core.errors import ConfigError, StorageError
from mithridate.core.healed import HEALED, OURS, read_healed
from mithridate.core.whole_folder import Making, whole_folder


def healed_folder(out: Path, inputs: Iterable[Path]) -> AbstractContextManager[Making]:
    """The folder `out` in the making, as `whole_folder` does it; an older healing in it is replaced.

    Raises StorageError where `out` is something else, or one of `inputs` lies in it, or it in a checkpoint.
    """
    out = out.absolute()
    _require_apart(out, inputs)
    return whole_folder(out, "a healed model", "healing", require_free)


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


def _require_apart(out: Path, inputs: Iterable[Path]) -> None:
    for path in inputs:
        if path.resolve().is_relative_to(out.resolve()):
            raise StorageError(
                f"{out}: holds {path}, which is to be read, and would be replaced; choose another --out"
            )
        if (path / "config.json").exists() and out.resolve().is_relative_to(path.resolve()):
            raise StorageError(f"{out}: lies within the checkpoint {path}; choose another --out")
