"""Masked vectors on disk: files that only grow, each written by one process, torn ends ignored."""

from __future__ import annotations

import logging
import os
import struct
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from mithridate.core.artifacts import storage_errors
from mithridate.core.errors import EncoderError, StorageError
from mithridate.retrieval.base import Vectors

_log = logging.getLogger("mithridate.retrieval")

_FORMAT = "mithridate masked vectors 1"
_PATTERN = "masked-*.bin"
_LONGEST_HEADER = 1 << 16
# What a record begins with: a mark, the key, the number of spans; then a checksum of these, and one of what
# follows: the spans as int64 pairs, the vectors as float32 rows, both little-endian.
_HEAD = struct.Struct("<4s32sQ")
_SUMS = struct.Struct("<II")
_MARK = b"MVR1"


class _FileHeader(BaseModel):
    """The first line of a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str
    encoder: str
    dimension: int


class MaskedFolder:
    """The files of one encoder's masked vectors.

    Every process writes to a file of its own and reads those that were there when it began, so no locks are
    needed and a kill can only tear the last record of a file; what comes after a record that cannot be read
    is ignored. A record is checked when it is read: a damaged one is reported to the log and counts as
    absent, since it can be encoded again. Where nothing can be written, that too is reported to the log, and
    queries go on without keeping anything.

    Raises EncoderError if a file was written for another encoder, StorageError if the folder is none.
    """

    def __init__(self, folder: Path, encoder: str, dimension: int) -> None:
        self._folder = folder
        self._header = _FileHeader(format=_FORMAT, encoder=_printable(encoder), dimension=dimension)
        self._places: dict[bytes, list[tuple[Path, int, int]]] = {}
        self._own: tuple[int, Path] | None = None
        self._refused: StorageError | None = None
        if folder.exists() and not folder.is_dir():
            raise StorageError(f"{folder}: is a file; masked vectors are kept in a folder")
        for path in sorted(folder.glob(_PATTERN)):
            for key, start, spans in self._records(path):
                self._places.setdefault(key, []).append((path, start, spans))

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: bytes) -> tuple[np.ndarray, Vectors] | None:
        """The spans, shape (n, 2), and the vectors, shape (n, dimension), kept under `key`."""
        places = self._places.get(key, [])
        while places:
            found = self._read(*places[-1])
            if found is not None:
                return found
            places.pop()  # The text was encoded again before, perhaps.
        self._places.pop(key, None)
        return None

    def _read(self, path: Path, start: int, spans: int) -> tuple[np.ndarray, Vectors] | None:
        try:
            with path.open("rb") as handle:
                handle.seek(start)
                head, body = handle.read(_HEAD.size + _SUMS.size), handle.read(self._body_bytes(spans))
        except FileNotFoundError:  # Someone has cleared the cache.
            head = body = b""
        if not _sound(head, body):
            _log.warning("%s: the record at byte %d is damaged; its text is encoded again", path, start)
            return None
        cut = spans * 16
        return (
            np.frombuffer(body[:cut], "<i8").reshape(-1, 2),
            np.frombuffer(body[cut:], "<f4").reshape(-1, self._header.dimension),
        )

    def put(self, key: bytes, spans: np.ndarray, vectors: Vectors) -> None:
        """Append a record; it is safe from a kill at once, and from a power cut after `flush`."""
        if key in self._places:
            return
        body = spans.astype("<i8").tobytes() + vectors.astype("<f4").tobytes()
        head = _HEAD.pack(_MARK, key, len(spans))
        record = head + _SUMS.pack(zlib.crc32(head), zlib.crc32(body)) + body
        try:
            with storage_errors(self._folder):
                path = self._own_file()
                with path.open("ab") as handle:
                    start = handle.tell()
                    handle.write(record)
        except (StorageError, OSError) as error:
            if self._refused is None:
                _log.warning("masked vectors are not kept: %s", error)
            self._refused = error if isinstance(error, StorageError) else StorageError(str(error))
            self._own = None  # Nobody could read what would be appended to half a record.
            return
        self._places[key] = [(path, start, len(spans))]

    def flush(self) -> None:
        """Wait until what this process wrote is on the disk; StorageError if something could not be."""
        if self._refused is not None:
            raise self._refused
        if self._own is not None:
            with storage_errors(self._folder), self._own[1].open("rb") as handle:
                os.fsync(handle.fileno())

    def _own_file(self) -> Path:
        # A forked process must not append to its parent's file.
        if self._own is None or self._own[0] != os.getpid():
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"masked-{uuid.uuid4().hex}.bin"
            path.write_bytes(self._header.model_dump_json().encode() + b"\n")
            self._own = (os.getpid(), path)
        return self._own[1]

    def _records(self, path: Path) -> Iterator[tuple[bytes, int, int]]:
        """Key, place and number of spans of each whole record of a file."""
        with path.open("rb") as handle:
            if not self._is_ours(path, handle.readline(_LONGEST_HEADER)):
                return
            size = path.stat().st_size
            start = handle.tell()
            while True:
                head = handle.read(_HEAD.size + _SUMS.size)
                if not _sound_head(head):
                    return
                _, key, spans = _HEAD.unpack_from(head)
                end = start + len(head) + self._body_bytes(spans)
                if end > size:
                    return
                yield key, start, spans
                start = handle.seek(end)

    def _is_ours(self, path: Path, line: bytes) -> bool:
        try:
            found = _FileHeader.model_validate_json(line)
        except ValidationError:
            _log.warning("%s: not a file of masked vectors, or one that was torn; ignored", path)
            return False
        if found != self._header:
            raise EncoderError(
                f"{path}: holds vectors of encoder {found.encoder!r} ({found.dimension} dimensions, "
                f"{found.format}), not of {self._header.encoder!r} ({self._header.dimension}); choose "
                "another folder, or delete it"
            )
        return True

    def _body_bytes(self, spans: int) -> int:
        return spans * (16 + 4 * self._header.dimension)


def _printable(identity: str) -> str:
    return identity.encode(errors="backslashreplace").decode()


def _sound_head(head: bytes) -> bool:
    if len(head) < _HEAD.size + _SUMS.size or not head.startswith(_MARK):
        return False
    checksum, _ = _SUMS.unpack_from(head, _HEAD.size)
    return bool(checksum == zlib.crc32(head[: _HEAD.size]))


def _sound(head: bytes, body: bytes) -> bool:
    return _sound_head(head) and _SUMS.unpack_from(head, _HEAD.size)[1] == zlib.crc32(body)
