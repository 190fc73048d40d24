"""Documents and their vectors in PostgreSQL with the extension pgvector."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np

from mithridate.core.errors import ConfigError, MissingExtraError, StoreUnavailableError
from mithridate.retrieval.base import Vectors
from mithridate.retrieval.stores.base import AT_ONCE, About, Candidate, Entry, Searched, read, written

_SEARCHED = ("whole", "mean")
_MOST_INDEXED_DIMENSIONS = 2000
_MOST_EF_SEARCH = 1000
_NUMBER = np.dtype("<f4")


class PostgresStore:
    """A table, in the database that `conninfo` (a URL or a connection string of libpq) names.

    The vectors `whole` and `mean` have HNSW indexes up to 2,000 dimensions, which is pgvector's limit; beyond
    it every search reads the whole table. Fragments are kept as bytes. What the vectors are is written in the
    table's comment. The connection is opened when it is needed, and again after it broke.

    Raises MissingExtraError without psycopg.
    """

    def __init__(self, conninfo: str, table: str = "mithridate") -> None:
        try:
            # Late: optional packages.
            import psycopg  # noqa: PLC0415 - see above
            from psycopg import sql  # noqa: PLC0415 - see above
        except ImportError as error:
            raise MissingExtraError("the store postgres", "psycopg", "postgres") from error
        self._psycopg: Any = psycopg
        self._sql: Any = sql
        self._conninfo, self._table = conninfo, table
        self._connection: Any = None
        self._lock = threading.RLock()

    @property
    def name(self) -> str:
        """The table."""
        return f"PostgreSQL table {self._table!r}"

    def prepare(self, about: About) -> None:
        """Make the table, or raise EncoderError if one is there for other vectors."""
        with self._transaction() as cursor:
            cursor.execute("SELECT obj_description(to_regclass(%s))", (self._quoted(),))
            (comment,) = cursor.fetchone()
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (self._quoted(),))
            if cursor.fetchone() == (True,):
                about.check(_about(comment, self.name), self.name)
                return
            cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
            columns = ", ".join(f"{column} vector({about.dimension}) NOT NULL" for column in _SEARCHED)
            self._run(
                cursor,
                "CREATE TABLE {table} (id bytea PRIMARY KEY, document text NOT NULL, "
                f"fragments bytea NOT NULL, {columns})",
            )
            for column in _SEARCHED if about.dimension <= _MOST_INDEXED_DIMENSIONS else ():
                self._run(cursor, f"CREATE INDEX ON {{table}} USING hnsw ({column} vector_ip_ops)")
            comment = self._sql.Literal(json.dumps(asdict(about)))
            cursor.execute(self._sql.SQL("COMMENT ON TABLE {} IS {}").format(self._identifier(), comment))

    def put(self, entries: Sequence[Entry]) -> None:
        """Keep `entries`, in one transaction."""
        rows = [
            (
                _key(entry.document.id),
                written(entry.document),
                np.ascontiguousarray(entry.fragments, _NUMBER).tobytes(),
                _literal(entry.whole),
                _literal(entry.mean()),
            )
            for entry in entries
        ]
        with self._transaction() as cursor:
            statement = self._sql.SQL(
                "INSERT INTO {table} (id, document, fragments, whole, mean) VALUES (%s, %s, %s, %s, %s) "
                "ON CONFLICT (id) DO UPDATE SET document = EXCLUDED.document, "
                "fragments = EXCLUDED.fragments, whole = EXCLUDED.whole, mean = EXCLUDED.mean"
            ).format(table=self._identifier())
            cursor.executemany(statement, rows)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents."""
        with self._transaction() as cursor:
            self._run(cursor, "DELETE FROM {table} WHERE id = ANY(%s)", ([_key(one) for one in ids],))

    def nearest(self, query: Vectors, by: Searched, limit: int) -> list[Candidate]:
        """About the `limit` most similar documents."""
        if by not in _SEARCHED:
            raise ConfigError(f"{self.name}: searched are {' and '.join(_SEARCHED)}, not {by!r}")
        with self._transaction() as cursor:
            # An HNSW index returns no more than this.
            breadth = min(max(limit, 40), _MOST_EF_SEARCH)
            cursor.execute("SELECT set_config('hnsw.ef_search', %s, true)", (str(breadth),))
            literal = _literal(query)
            self._run(
                cursor,
                f"SELECT document, -({by} <#> %s::vector) FROM {{table}} "
                f"ORDER BY {by} <#> %s::vector LIMIT %s",
                (literal, literal, limit),
            )
            return [Candidate(read(document), float(score)) for document, score in cursor.fetchall()]

    def vectors(self, ids: Sequence[str]) -> Mapping[str, tuple[Vectors, Vectors]]:
        """The vectors of documents that are there."""
        with self._transaction() as cursor:
            keys = {_key(one): one for one in ids}
            self._run(
                cursor,
                "SELECT id, whole::text, fragments FROM {table} WHERE id = ANY(%s)",
                (list(keys),),
            )
            return {keys[bytes(key)]: _vectors(*values) for key, *values in cursor.fetchall()}

    def entries(self) -> Iterator[list[Entry]]:
        """Everything, in batches in the order of the identifiers' bytes."""
        after = b""
        first = True
        while True:
            with self._transaction() as cursor:
                self._run(
                    cursor,
                    "SELECT id, document, whole::text, fragments FROM {table} "
                    "WHERE id > %s OR %s ORDER BY id LIMIT %s",
                    (after, first, AT_ONCE),
                )
                rows = cursor.fetchall()
            if not rows:
                return
            yield [Entry(read(document), *_vectors(*values)) for _, document, *values in rows]
            after, first = bytes(rows[-1][0]), False

    def __len__(self) -> int:
        with self._transaction() as cursor:
            self._run(cursor, "SELECT count(*) FROM {table}")
            return int(cursor.fetchone()[0])

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """A cursor in a transaction of its own; one thread at a time."""
        with self._lock:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = self._psycopg.connect(self._conninfo)
                with self._connection.transaction(), self._connection.cursor() as cursor:
                    yield cursor
            except self._psycopg.Error as error:
                self.close()
                raise StoreUnavailableError(f"{self.name} does not answer as it should: {error}") from error

    def _run(self, cursor: Any, statement: str, values: Sequence[Any] = ()) -> None:
        cursor.execute(self._sql.SQL(statement).format(table=self._identifier()), values)

    def _identifier(self) -> Any:
        return self._sql.Identifier(self._table)

    def _quoted(self) -> str:
        return '"' + self._table.replace('"', '""') + '"'


def _about(comment: str | None, name: str) -> About:
    try:
        return About(**json.loads(comment or ""))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{name}: is there already and was not made here; choose another name") from error


def _key(identifier: str) -> bytes:
    return identifier.encode(errors="surrogatepass")


def _literal(vector: Vectors) -> str:
    """A vector as pgvector reads it; nine digits bring a float32 back exactly."""
    return "[" + ",".join(f"{number:.9g}" for number in vector.tolist()) + "]"


def _vectors(whole: str, fragments: bytes) -> tuple[Vectors, Vectors]:
    row = np.array(json.loads(whole), np.float32)
    return row, np.frombuffer(fragments, _NUMBER).reshape(-1, len(row)).astype(np.float32)
