"""The manifest of an index on disk: what belongs to it, with checksums. It is replaced last, and whole."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mithridate.core.artifacts import write_atomic
from mithridate.core.errors import IndexDamagedError, StorageError
from mithridate.core.strict import first_problem
from mithridate.retrieval.base import Layout

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
_PIECE = 1 << 20


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StoredFile(_Strict):
    """A whole file, by its name in the folder of rows."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]+\.[a-z]+$")
    bytes: int = Field(ge=0)
    sha256: str


class Block(_Strict):
    """Rows written at one time: their documents, and the hash of their range in the file of each part."""

    rows: int = Field(ge=1)
    documents: StoredFile
    parts: dict[str, str]


class StoredLayout(_Strict):
    """A `Layout`, as it is kept."""

    whole: bool
    fragments: int = Field(ge=0)
    combination: int = Field(ge=0)
    concatenations: bool

    def layout(self) -> Layout:
        """As the type that retrievers state."""
        return Layout(self.whole, self.fragments, self.combination, self.concatenations)


class Settings(_Strict):
    """What an index is searched with where the caller says nothing else, and what its building found."""

    retriever: dict[str, Any]
    rerankers: list[dict[str, Any]] = []
    mode: str = "demote"
    floor: int = 1
    eager_masks: bool = False
    warnings: list[str] = []


class Manifest(_Strict):
    """All that is known of an index without opening its files.

    `revision` counts the changes; `rows_folder` holds the files. `probe` is the vector of one fixed sentence,
    by which an encoder is known again even where its name is kept. `alive` says which rows are not deleted.
    """

    format: Literal["mithridate-index"] = "mithridate-index"
    version: int = FORMAT_VERSION
    revision: int = Field(ge=1)
    rows_folder: str = Field(pattern=r"^rows-[0-9]+$")
    encoder: str
    dimension: int = Field(ge=1)
    probe: list[float]
    layout: StoredLayout
    blocks: list[Block]
    alive: StoredFile | None = None
    settings: Settings

    @property
    def rows(self) -> int:
        """How many rows there are, deleted ones among them."""
        return sum(block.rows for block in self.blocks)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the index in `folder`.

    Raises StorageError where there is none or it is of a later version, IndexDamagedError for a broken one.
    """
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StorageError(f"{folder}: holds no index (no {MANIFEST}); build one there first") from error
    except OSError as error:
        raise IndexDamagedError(f"cannot be read: {error.strerror or error}", path=path) from error
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        problem, field = first_problem(error)
        where = field or "the file"
        raise IndexDamagedError(f"is no manifest of an index: {where}: {problem}", path=path) from error
    if manifest.version != FORMAT_VERSION:
        raise StorageError(
            f"{path}: is of format version {manifest.version}, and this release reads {FORMAT_VERSION}; "
            "build the index anew, or use the release that wrote it"
        )
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest; from here on the index is the new one, also after a loss of power."""
    settle(folder / manifest.rows_folder)
    write_atomic(folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
    settle(folder)


def settle(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk; the files themselves are on their own."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def stored_layout(layout: Layout) -> StoredLayout:
    """`layout`, as it is kept."""
    return StoredLayout(
        whole=layout.whole,
        fragments=layout.fragments,
        combination=layout.combination,
        concatenations=layout.concatenations,
    )


def check_file(folder: Path, file: StoredFile, *, verify: bool) -> Path:
    """The path of a whole file, once its size and (with `verify`) its hash are what they must be.

    Raises IndexDamagedError.
    """
    path = folder / file.name
    check_size(path, file.bytes, exact=True)
    if verify and sha256_of_range(path, 0, file.bytes) != file.sha256:
        raise changed(path)
    return path


def check_size(path: Path, wanted: int, *, exact: bool = False) -> None:
    """Raise IndexDamagedError for a file that is missing or too short, or longer where it must be `exact`."""
    try:
        found = path.stat().st_size
    except OSError as error:
        raise IndexDamagedError("is missing", path=path) from error
    if found < wanted:
        problem = f"is truncated ({found:,} of {wanted:,} bytes)"
        raise IndexDamagedError(problem, path=path)
    if exact and found > wanted:
        raise changed(path)


def changed(path: Path) -> IndexDamagedError:
    """The error for a file whose checksum is another."""
    return IndexDamagedError("was changed since it was written (its checksum is another)", path=path)


def sha256_of_range(path: Path, start: int, length: int) -> str:
    """The hash of `length` bytes of a file from `start`, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(start)
        while length > 0 and (piece := file.read(min(_PIECE, length))):
            digest.update(piece)
            length -= len(piece)
    return digest.hexdigest()
