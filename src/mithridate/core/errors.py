"""Every error that a user can meet, as one tree. `docs/errors.md` lists them with what to do.

MithridateError
├── ConfigError          a study file, an override or an option is wrong
│   ├── UnknownNameError a name that no registry holds; suggests the nearest
│   └── MissingExtraError an optional package is not installed; names the pip command
├── DataError            a corpus or data file cannot be read; names file, line and field
├── CheckpointError      a model folder cannot be used
├── AccessError          a part of a model that is not there, or that no text went through
├── RunStateError        a run directory is taken, foreign or incomplete
├── StorageError         disk full, no permission, output already there
├── TrainingError        a loss that is not a number, a mask without a token
├── EncoderError         vectors that are none, or of another encoder than the index has
├── DocumentError        documents that an index cannot hold
├── QueryError           a query that asks nothing
├── IndexDamagedError    a file of an index is missing, truncated or changed
└── StoreUnavailableError a vector store does not answer
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class MithridateError(Exception):
    """Base of all errors raised on purpose; the command line prints it without a traceback."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is rebuilt from its arguments, which here are the finished message: without this,
        # errors with keyword arguments of their own could not come back from a worker process.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[MithridateError], args: tuple[Any, ...], state: dict[str, Any]) -> MithridateError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigError(MithridateError):
    """A study file, an override or a command-line option does not say what it must."""


class UnknownNameError(ConfigError):
    """A name that nothing is registered under."""

    def __init__(self, what: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        near = nearest(name, known)
        hint = "" if near is None else f"did you mean {near!r}? "
        super().__init__(f"unknown {what} {name!r}: {hint}known are {', '.join(known) or 'none'}")
        self.name = name
        self.suggestion = near


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Which of the `known` names was probably meant by `name`; None where none is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)), None)


def shown(value: object, longest: int = 60) -> str:
    """A value as an error quotes it: as Python writes it, and no longer than a reader wants."""
    text = repr(value)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


class MissingExtraError(ConfigError):
    """An optional package is not installed; `extra` is the extra of this package that brings it."""

    def __init__(self, needed_by: str, package: str, extra: str) -> None:
        super().__init__(
            f"{needed_by} needs the package {package}, which is not installed: "
            f"pip install 'mithridate[{extra}]'"
        )
        self.package, self.extra = package, extra


class DataError(MithridateError):
    """A data file cannot be read as what it should be.

    Names the file, and the line and field where they are known.
    """

    def __init__(
        self, problem: str, *, path: Path | str, line: int | None = None, field: str | None = None
    ) -> None:
        where = str(path) + (f", line {line}" if line is not None else "")
        where += f", field {field!r}" if field is not None else ""
        super().__init__(f"{where}: {problem}")
        self.path, self.line, self.field = Path(path), line, field


class CheckpointError(MithridateError):
    """A model folder is missing something, is unsafe to load, or does not fit its use."""


class AccessError(MithridateError):
    """A part of a loaded model is not there, was never reached, or cannot take what was put in its place."""


class RunStateError(MithridateError):
    """A run directory belongs to another study, is in use by another process, or is not complete."""


class StorageError(MithridateError):
    """The disk is full, a place may not be written to, or an output is already there."""


class TrainingError(MithridateError):
    """Training cannot go on: the loss is not a number, or nothing would be learnt from."""


class EncoderError(MithridateError):
    """An encoder's vectors cannot be used: not finite, of the wrong shape, or of another encoder."""


class DocumentError(MithridateError):
    """Documents that an index cannot hold: an identifier twice, or no document at all."""


class QueryError(MithridateError):
    """A query that asks nothing, or a number of results that is none."""


class IndexDamagedError(MithridateError):
    """A file of an index on disk is missing, truncated or changed; `path` names it."""

    def __init__(self, problem: str, *, path: Path | str) -> None:
        super().__init__(f"{path}: {problem}; delete the folder of this index and build it again")
        self.path = Path(path)


class StoreUnavailableError(MithridateError):
    """A vector store does not answer, or went away in the middle of a query."""
