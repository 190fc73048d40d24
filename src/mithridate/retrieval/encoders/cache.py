"""Vectors kept on disk by the content of their texts, for all processes that use the same encoder."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from mithridate.core.artifacts import storage_errors
from mithridate.core.errors import EncoderError, StorageError
from mithridate.retrieval.base import Encoder, TextRole, Vectors

_BUSY_SECONDS = 60.0
_RETRY_SECONDS = 0.02
_KEYS_AT_ONCE = 500
_TEXTS_AT_ONCE = 512
_LENGTH_TOLERANCE = 1e-3


class CachedEncoder:
    """Another encoder, asked only for texts that are not in the cache.

    The folder holds one SQLite file an encoder identity, whose transactions make it safe against kills and
    shared by processes (on a local disk: SQLite's locks do not hold on every network file system). New
    vectors are kept piece by piece, so an encoding that was interrupted goes on where it stopped. `encoded`
    counts the texts that were really encoded, `found` those that came from the cache.

    Raises StorageError where the folder cannot be written, EncoderError if its file holds vectors of another
    encoder or is damaged; the cache can always be deleted.
    """

    def __init__(self, encoder: Encoder, folder: Path | str) -> None:
        self._encoder = encoder
        self.identity, self.dimension = encoder.identity, encoder.dimension
        self.encoded = self.found = 0
        named = hashlib.sha256(self.identity.encode(errors="surrogatepass")).hexdigest()[:16]
        self.path = Path(folder) / f"vectors-{named}.sqlite"
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._lock = threading.Lock()
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._transaction() as connection:
            _prepare(connection, self.path, self.identity)

    @property
    def encoder(self) -> Encoder:
        """What is asked for texts that are not in the cache."""
        return self._encoder

    @property
    def mask_text(self) -> str | None:
        """That of the encoder."""
        return self._encoder.mask_text

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Those of the encoder."""
        return self._encoder.token_spans(text)

    def encode(self, texts: Sequence[str], *, role: TextRole = TextRole.DOCUMENT) -> Vectors:
        """One unit row a text, shape (len(texts), dimension); the same text is encoded once."""
        rows = np.zeros((len(texts), self.dimension), np.float32)
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            piece = texts[start : start + _TEXTS_AT_ONCE]
            rows[start : start + len(piece)] = self._piece(piece, role)
        return rows

    def _piece(self, texts: Sequence[str], role: TextRole) -> Vectors:
        keys = [_key(text, role) for text in texts]
        with self._transaction() as connection:
            known = {key: row for key, row in _stored(connection, keys) if self._sound(row)}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            fresh = self._encoder.encode(list(missing.values()), role=role)
            new = dict(zip(missing, fresh, strict=True))
            with self._transaction() as connection:
                _keep(connection, new)
            known |= new
        self.encoded += len(missing)
        self.found += len(texts) - len(missing)
        return np.stack([known[key] for key in keys])

    def _sound(self, row: Vectors) -> bool:
        """Whether a stored row can be what was stored: otherwise it is encoded again."""
        return row.shape == (self.dimension,) and abs(float(np.linalg.norm(row)) - 1) < _LENGTH_TOLERANCE

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection of this process, committed at the end; one thread at a time."""
        with self._lock:
            try:
                connection = self._connect()
                with connection:
                    yield connection
            except sqlite3.DatabaseError as error:
                raise _told(error, self.path) from error

    def _connect(self) -> sqlite3.Connection:
        # A connection must not be carried into a forked process.
        if self._connection is None or self._process != os.getpid():
            self._connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, check_same_thread=False)
            _wait_for_wal(self._connection)
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._process = os.getpid()
        return self._connection

    def close(self) -> None:
        """Close the file; the next encoding opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None


def _wait_for_wal(connection: sqlite3.Connection) -> None:
    """Turn on the mode in which readers do not wait for a writer.

    SQLite does not wait of itself where several processes do this to a new file at once.
    """
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(_RETRY_SECONDS)
        else:
            return


def _key(text: str, role: TextRole) -> bytes:
    return hashlib.blake2b(f"{role}\0{text}".encode(errors="surrogatepass"), digest_size=20).digest()


def _prepare(connection: sqlite3.Connection, path: Path, identity: str) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS encoder (identity TEXT PRIMARY KEY)")
    connection.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, row BLOB) WITHOUT ROWID")
    connection.execute("INSERT OR IGNORE INTO encoder VALUES (?)", (_plain(identity),))
    found = [name for (name,) in connection.execute("SELECT identity FROM encoder")]
    if found != [_plain(identity)]:
        raise EncoderError(f"{path}: holds vectors of other encoders ({', '.join(found)}); delete it")


def _plain(identity: str) -> str:
    return identity.encode(errors="backslashreplace").decode()


def _stored(connection: sqlite3.Connection, keys: Sequence[bytes]) -> Iterator[tuple[bytes, Vectors]]:
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        some = keys[start : start + _KEYS_AT_ONCE]
        marks = ",".join("?" * len(some))
        for key, row in connection.execute(f"SELECT key, row FROM vectors WHERE key IN ({marks})", some):
            yield key, np.frombuffer(row[: len(row) // 4 * 4], "<f4")


def _keep(connection: sqlite3.Connection, rows: Mapping[bytes, Vectors]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO vectors VALUES (?, ?)",
        [(key, row.astype("<f4").tobytes()) for key, row in rows.items()],
    )


def _told(error: sqlite3.DatabaseError, path: Path) -> StorageError | EncoderError:
    if isinstance(error, sqlite3.OperationalError):
        return StorageError(
            f"{path}: the cache of vectors cannot be used ({error}). Choose another folder, free some space, "
            "or change its permissions"
        )
    return EncoderError(f"{path}: the cache of vectors is damaged ({error}); delete the file")
