"""An index in a folder: files that only grow, memory-mapped, and a manifest that is replaced last.

What a manifest names is never written over: a kill at any moment leaves the index as it was, and bytes
beyond what the manifest counts are no part of it.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from mithridate.core.artifacts import LOCK, atomic_path, exclusive, storage_errors
from mithridate.core.errors import IndexDamagedError, RunStateError, StorageError
from mithridate.core.types import Document
from mithridate.retrieval.document_files import DocumentRows, document_writer
from mithridate.retrieval.manifest import (
    MANIFEST,
    Block,
    Manifest,
    StoredFile,
    changed,
    check_file,
    check_size,
    read_manifest,
    sha256_of_range,
    write_manifest,
)
from mithridate.retrieval.storage import Appender
from mithridate.retrieval.vector_rows import PART_NAMES, Parts, VectorRows, part_shapes

MASKS = "masks"
"""Where the cache of masked vectors lies in the folder of an index."""
_NUMBER = np.dtype("<f4")


class FolderStorage:
    """The rows of one revision of an index on disk; `open` and `create` make it.

    One process writes at a time. A process that has the index open keeps the revision that it opened.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, verify: bool = True) -> None:
        self.path: Path | None = folder
        self._folder = folder
        self.layout, self.dimension = manifest.layout.layout(), manifest.dimension
        self._show(manifest, verify=verify)

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> FolderStorage:
        """The index in `folder`; without `verify`, sizes are checked and checksums are not.

        Raises StorageError where there is none, IndexDamagedError naming the file that is not what it was.
        """
        manifest = read_manifest(folder)
        try:
            return cls(folder, manifest, verify=verify)
        except IndexDamagedError:
            # Between reading the manifest and the files, another process may have replaced both.
            again = read_manifest(folder)
            if again.revision == manifest.revision:
                raise
            return cls(folder, again, verify=verify)

    @classmethod
    @contextmanager
    def create(cls, folder: Path, manifest: Manifest, *, replace: bool = False) -> Iterator[NewRows]:
        """A new index in `folder`, whose rows are appended in the block; `manifest` says all but the rows.

        An index that is there is replaced when the block ends well, if `replace`. Raises StorageError where
        one is there or something else is.
        """
        _claim(folder, replace=replace)
        with exclusive(folder):
            before = read_manifest(folder) if (folder / MANIFEST).exists() else None
            revision = before.revision + 1 if before is not None else 1
            name = f"rows-{revision:06d}"
            manifest = manifest.model_copy(update={"revision": revision, "rows_folder": name})
            rows_folder = folder / name
            with storage_errors(rows_folder):
                shutil.rmtree(rows_folder, ignore_errors=True)  # what a killed build left
                rows_folder.mkdir()
                writer = NewRows(rows_folder, manifest)
                try:
                    with writer:
                        yield writer
                except BaseException:
                    shutil.rmtree(rows_folder, ignore_errors=True)
                    raise
            found = {"warnings": [*manifest.settings.warnings, *writer.warnings]}
            settings = manifest.settings.model_copy(update=found)
            manifest = manifest.model_copy(update={"blocks": writer.blocks(), "settings": settings})
            write_manifest(folder, manifest)
            _remove_old(folder, manifest)

    @property
    def manifest(self) -> Manifest:
        """That of the revision which is open."""
        return self._manifest

    @property
    def documents(self) -> Sequence[Document]:
        """The documents by row."""
        return self._documents

    @property
    def vectors(self) -> VectorRows:
        """The rows, memory-mapped."""
        return self._vectors

    def ids(self) -> Iterator[str]:
        """The identifiers alone, without reading any text."""
        return self._documents.ids()

    @contextmanager
    def adding(self) -> Iterator[Appender]:
        """Rows are written behind those that are there, and count once the block ends well."""
        with self._writing() as folder:
            writer = NewRows(folder, self._manifest)
            with storage_errors(folder), writer:
                yield writer
            self._replace(blocks=[*self._manifest.blocks, *writer.blocks()], alive=self._grown(writer.rows))

    def delete(self, rows: Sequence[int]) -> None:
        """Mark `rows` as deleted; their bytes stay until the index is saved anew."""
        with self._writing():
            alive = np.array(self._vectors.alive)
            alive[list(rows)] = False
            self._replace(alive=self._store_alive(alive))

    @contextmanager
    def _writing(self) -> Iterator[Path]:
        with exclusive(self._folder):
            if read_manifest(self._folder).revision != self._manifest.revision:
                raise RunStateError(
                    f"{self._folder}: another process changed this index since it was opened; open it again"
                )
            yield self._folder / self._manifest.rows_folder

    def _grown(self, rows: int) -> StoredFile | None:
        """Which rows are not deleted, when `rows` more have come."""
        if self._manifest.alive is None:
            return None
        return self._store_alive(np.concatenate([self._vectors.alive, np.ones(rows, np.bool_)]))

    def _store_alive(self, alive: Any) -> StoredFile:
        data = np.packbits(alive).tobytes()
        name = f"alive-{self._manifest.revision + 1:06d}.bits"
        with atomic_path(self._folder / self._manifest.rows_folder / name) as beside:
            beside.write_bytes(data)
        return StoredFile(name=name, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    def _replace(self, **changes: Any) -> None:
        manifest = self._manifest.model_copy(
            update={"revision": self._manifest.revision + 1, "alive": self._manifest.alive} | changes
        )
        write_manifest(self._folder, manifest)
        _remove_old(self._folder, manifest, keep=self._manifest)
        # What was just written needs no checking.
        self._show(manifest, verify=False)

    def _show(self, manifest: Manifest, *, verify: bool) -> None:
        """Map the files of `manifest`."""
        folder = self._folder / manifest.rows_folder
        documents = DocumentRows(
            [(check_file(folder, block.documents, verify=verify), block.rows) for block in manifest.blocks]
        )
        parts = {
            name: _mapped(folder / f"{name}.f32", name, shape, manifest, verify=verify)
            for name, shape in part_shapes(self.layout, self.dimension).items()
        }
        alive = np.ones(manifest.rows, np.bool_)
        if manifest.alive is not None:
            file = check_file(folder, manifest.alive, verify=verify)
            if manifest.alive.bytes != (manifest.rows + 7) // 8:
                raise changed(file)
            bits = np.frombuffer(file.read_bytes(), np.uint8)
            alive = np.unpackbits(bits, count=manifest.rows).astype(np.bool_)
        self._manifest, self._documents = manifest, documents
        self._vectors = VectorRows(**parts, alive=alive)


def _mapped(path: Path, name: str, shape: tuple[int, ...], manifest: Manifest, *, verify: bool) -> Any:
    """One part of all rows; the file is checked first."""
    width = int(np.prod(shape)) * _NUMBER.itemsize
    if not width or not manifest.rows:
        return np.zeros((manifest.rows, *shape), np.float32)
    check_size(path, width * manifest.rows)
    start = 0
    for block in manifest.blocks:
        length = width * block.rows
        if verify and sha256_of_range(path, start, length) != block.parts.get(name):
            raise changed(path)
        start += length
    return np.memmap(path, _NUMBER, "r", shape=(manifest.rows, *shape))


class NewRows:
    """Writes rows behind the `manifest.rows` that are in a folder, and knows their hashes."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder, self._before = folder, manifest.rows
        self._shapes = part_shapes(manifest.layout.layout(), manifest.dimension)
        self._documents = folder / f"documents-{len(manifest.blocks):06d}.arrow"
        self._digests = {name: hashlib.sha256() for name in PART_NAMES}
        self._files: dict[str, IO[bytes]] = {}
        self._stack = ExitStack()
        self._writer: Any = None
        self.rows = 0
        self.warnings: list[str] = []
        """What is to be said of them whenever a new index is opened."""

    def __enter__(self) -> NewRows:
        self._documents.unlink(missing_ok=True)  # what a killed writer left
        for name, shape in self._shapes.items():
            path = self._folder / f"{name}.f32"
            path.touch()
            file = self._stack.enter_context(path.open("r+b"))
            file.truncate(self._before * int(np.prod(shape)) * _NUMBER.itemsize)
            file.seek(0, io.SEEK_END)
            self._files[name] = file
        return self

    def append(self, documents: Sequence[Document], parts: Parts) -> None:
        """Write one batch."""
        if self._writer is None:
            self._writer = self._stack.enter_context(document_writer(self._documents))
        self._writer.write(documents)
        for name, rows in parts.named():
            data = np.ascontiguousarray(rows, _NUMBER).tobytes()
            self._digests[name].update(data)
            self._files[name].write(data)
        self.rows += len(documents)

    def __exit__(self, *raised: object) -> None:
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self._stack.close()
        if self.rows:
            with self._documents.open("rb") as file:
                os.fsync(file.fileno())

    def blocks(self) -> list[Block]:
        """What the manifest is to say of these rows: one block, or none without rows."""
        if not self.rows:
            return []
        size = self._documents.stat().st_size
        stored = StoredFile(
            name=self._documents.name, bytes=size, sha256=sha256_of_range(self._documents, 0, size)
        )
        parts = {name: digest.hexdigest() for name, digest in self._digests.items()}
        return [Block(rows=self.rows, documents=stored, parts=parts)]


def _claim(folder: Path, *, replace: bool) -> None:
    """Raise StorageError unless `folder` is free for an index."""
    with storage_errors(folder):
        if (folder / MANIFEST).exists():
            if not replace:
                raise StorageError(
                    f"{folder}: holds an index already; open it with GuardedIndex.open, or choose another "
                    "folder"
                )
            return
        found = [p.name for p in folder.iterdir()] if folder.exists() else []
    if any(not (name in (MASKS, LOCK) or name.startswith("rows-")) for name in found):
        raise StorageError(f"{folder}: is not empty and holds no index; choose another path")


def _remove_old(folder: Path, manifest: Manifest, keep: Manifest | None = None) -> None:
    """Remove what neither `manifest` nor `keep` names: readers may still be opening the one before."""
    kept = [m for m in (manifest, keep) if m is not None]
    for rows in folder.glob("rows-*"):
        if rows.name not in {m.rows_folder for m in kept}:
            shutil.rmtree(rows, ignore_errors=True)
    named = {m.alive.name for m in kept if m.alive is not None}
    for alive in (folder / manifest.rows_folder).glob("alive-*.bits"):
        if alive.name not in named:
            alive.unlink(missing_ok=True)
