"""Bytes in and out of plain, gzip and Zstandard files in constant memory; truncation is told from the end."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Protocol

import zstandard

from mithridate.core.errors import DataError

BLOCK = 1 << 20
# A compressed chunk can unfold a thousandfold: small ones bound the memory.
_RAW_CHUNK = 1 << 15
_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3
# `zstd --long=31`, which large public dumps are made with.
_ZSTD_WINDOW = 1 << 31


class Codec(StrEnum):
    """How the bytes of a file are compressed."""

    PLAIN = ""
    GZIP = ".gz"
    ZSTD = ".zst"


Watcher = Callable[[bytes | memoryview], object]


@contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to read `path` into DataErrors."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=error.filename or path) from error


class Readable(Protocol):
    """Somewhere to read bytes from."""

    def read(self, size: int = -1, /) -> bytes:
        """At most so many bytes, or all; none at the end."""


class Sink(Protocol):
    """Somewhere to write bytes to."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Write all of `data`."""


class _Decompressing(io.RawIOBase):
    """A readable stream over all members or frames of a compressed file."""

    def __init__(self, path: Path, codec: Codec, on_raw: Watcher | None) -> None:
        self._path, self._codec, self._on_raw = path, codec, on_raw
        self._file = path.open("rb")
        self._stream: Any = None
        self._members = 0
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any, /) -> int:
        while not self._pending:
            raw = self._file.read(_RAW_CHUNK)
            if not raw:
                self._check_end()
                return 0
            if self._on_raw is not None:
                self._on_raw(raw)
            self._pending = memoryview(self._decompress(raw))
        count = min(len(buffer), len(self._pending))
        buffer[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        return count

    def _new_stream(self) -> Any:
        if self._codec is Codec.GZIP:
            return zlib.decompressobj(wbits=31)
        return zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()

    def _decompress(self, raw: bytes) -> bytes:
        parts = []
        try:
            while raw:
                if self._stream is None:
                    if self._codec is Codec.GZIP and self._members:
                        raw = raw.lstrip(b"\0")  # gzip allows zeros between and after members
                        if not raw:
                            break
                    self._stream = self._new_stream()
                    self._members += 1
                parts.append(self._stream.decompress(raw))
                if not self._stream.eof:
                    break
                raw, self._stream = self._stream.unused_data, None
        except (zlib.error, zstandard.ZstdError) as error:
            raise DataError(
                f"not a valid {self._codec} file ({error}); copy or download it again", path=self._path
            ) from error
        return b"".join(parts)

    def _check_end(self) -> None:
        if self._stream is not None or not self._members:
            raise DataError(
                f"the {self._codec} file is truncated: it ends before the end-of-stream mark; "
                "copy or download it again",
                path=self._path,
            )


@contextmanager
def open_reader(path: Path, codec: Codec, on_raw: Watcher | None = None) -> Iterator[IO[bytes]]:
    """The uncompressed bytes of `path`; `on_raw` sees every byte of the file itself as it is read.

    Reading raises DataError where the file is truncated or corrupt.
    """
    if codec is Codec.PLAIN:
        raw: Any = _Watched(path, on_raw) if on_raw is not None else path.open("rb", buffering=0)
    else:
        raw = _Decompressing(path, codec, on_raw)
    with io.BufferedReader(raw, BLOCK) as reader:
        yield reader


class _Watched(io.FileIO):
    """A file that shows what is read from it."""

    def __init__(self, path: Path, on_raw: Watcher) -> None:
        super().__init__(path, "rb")
        self._on_raw = on_raw

    def readinto(self, buffer: Any, /) -> int:
        count = super().readinto(buffer) or 0
        self._on_raw(memoryview(buffer)[:count])
        return count


@contextmanager
def open_writer(path: Path, codec: Codec) -> Iterator[Sink]:
    """A stream that compresses with fixed settings, so that the same bytes in give the same bytes out."""
    with path.open("wb") as file:
        if codec is Codec.PLAIN:
            yield file
        elif codec is Codec.ZSTD:
            with zstandard.ZstdCompressor(level=_ZSTD_LEVEL).stream_writer(file, closefd=False) as stream:
                yield stream
        else:
            # zlib's own gzip header holds neither a time nor a name.
            squeezer = _Gzip(file)
            yield squeezer
            squeezer.finish()


class _Gzip:
    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._stream = file, zlib.compressobj(_GZIP_LEVEL, wbits=31)

    def write(self, data: bytes | memoryview, /) -> int:
        return self._file.write(self._stream.compress(data))

    def finish(self) -> None:
        self._file.write(self._stream.flush())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
