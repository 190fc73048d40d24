"""Documents and their vectors in Qdrant: in this process, in a folder, or on a server."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np

from mithridate.core.errors import MissingExtraError, MithridateError, StoreUnavailableError
from mithridate.retrieval.base import Vectors
from mithridate.retrieval.stores.base import AT_ONCE, About, Candidate, Entry, Searched, read, written

_ABOUT = "mithridate"
_DOCUMENT = "document"


class QdrantStore:
    """A collection of Qdrant.

    `location` is ":memory:", the path of a folder or the URL of a server, or a `QdrantClient` of your own
    (with an API key, gRPC, or a timeout). A point holds the vectors "whole" and "mean", which are searched,
    and the multivector "fragments", which is not indexed; its payload holds the document.

    Raises MissingExtraError without qdrant-client.
    """

    def __init__(self, location: str | Any, collection: str = "mithridate") -> None:
        try:
            # Late: it is an optional package, and takes a second to import.
            import qdrant_client  # noqa: PLC0415 - see above
        except ImportError as error:
            raise MissingExtraError("the store qdrant", "qdrant-client", "qdrant") from error
        self._models: Any = qdrant_client.models
        self._collection = collection
        self._about: About | None = None
        self._client: Any = location
        self._own = isinstance(location, str)
        if self._own:
            with self._answering():
                self._client = _client(qdrant_client.QdrantClient, location)

    @property
    def name(self) -> str:
        """The collection."""
        return f"Qdrant collection {self._collection!r}"

    def prepare(self, about: About) -> None:
        """Make the collection, or raise EncoderError if one is there for other vectors."""
        models = self._models
        with self._answering():
            if self._client.collection_exists(self._collection):
                points, _ = self._client.scroll(self._collection, limit=1, with_payload=[_ABOUT])
                if points:
                    about.check(About(**points[0].payload[_ABOUT]), self.name)
            else:
                searched = models.VectorParams(size=about.dimension, distance=models.Distance.DOT)
                kept = models.VectorParams(
                    size=about.dimension,
                    distance=models.Distance.DOT,
                    multivector_config=models.MultiVectorConfig(
                        comparator=models.MultiVectorComparator.MAX_SIM
                    ),
                    hnsw_config=models.HnswConfigDiff(m=0),
                )
                config = {"whole": searched, "mean": searched} | (
                    {"fragments": kept} if about.fragments else {}
                )
                self._client.create_collection(self._collection, vectors_config=config)
        self._about = about

    def put(self, entries: Sequence[Entry]) -> None:
        """Keep `entries`."""
        assert self._about is not None, "prepare comes first"
        about = asdict(self._about)
        points = []
        for entry in entries:
            vector: dict[str, Any] = {"whole": entry.whole.tolist(), "mean": entry.mean().tolist()}
            if len(entry.fragments):
                vector["fragments"] = entry.fragments.tolist()
            payload = {_DOCUMENT: written(entry.document), _ABOUT: about}
            points.append(
                self._models.PointStruct(id=_key(entry.document.id), vector=vector, payload=payload)
            )
        if points:
            with self._answering():
                self._client.upsert(self._collection, points=points, wait=True)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents."""
        if not ids:
            return
        with self._answering():
            selector = self._models.PointIdsList(points=[_key(one) for one in ids])
            self._client.delete(self._collection, points_selector=selector, wait=True)

    def nearest(self, query: Vectors, by: Searched, limit: int) -> list[Candidate]:
        """About the `limit` most similar documents."""
        with self._answering():
            found = self._client.query_points(
                self._collection, query=query.tolist(), using=by, limit=limit, with_payload=[_DOCUMENT]
            )
        return [Candidate(read(point.payload[_DOCUMENT]), float(point.score)) for point in found.points]

    def vectors(self, ids: Sequence[str]) -> Mapping[str, tuple[Vectors, Vectors]]:
        """The vectors of documents that are there."""
        by_key = {_key(one): one for one in ids}
        with self._answering():
            points = self._client.retrieve(
                self._collection, ids=list(by_key), with_payload=False, with_vectors=["whole", "fragments"]
            )
        return {by_key[str(point.id)]: _vectors(point) for point in points}

    def entries(self) -> Iterator[list[Entry]]:
        """Everything, in batches."""
        offset: Any = None
        while True:
            with self._answering():
                points, offset = self._client.scroll(
                    self._collection,
                    limit=AT_ONCE,
                    offset=offset,
                    with_payload=[_DOCUMENT],
                    with_vectors=["whole", "fragments"],
                )
            yield [Entry(read(point.payload[_DOCUMENT]), *_vectors(point)) for point in points]
            if offset is None:
                return

    def __len__(self) -> int:
        with self._answering():
            return int(self._client.count(self._collection, exact=True).count)

    def close(self) -> None:
        """Let go of what was opened for the store; a client of your own stays open."""
        if self._own:
            self._client.close()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn what the client raises into StoreUnavailableErrors: it has no one base for its errors."""
        try:
            yield
        except MithridateError:
            raise
        except Exception as error:
            raise StoreUnavailableError(f"{self.name} does not answer as it should: {error}") from error


def _client(kind: Any, location: str) -> Any:
    if location == ":memory:":
        return kind(location=location)
    return kind(url=location) if "://" in location else kind(path=location)


def _key(identifier: str) -> str:
    """Qdrant knows points by numbers and UUIDs only."""
    data = identifier.encode(errors="surrogatepass")
    return str(uuid.UUID(bytes=hashlib.blake2b(data, digest_size=16).digest()))


def _vectors(point: Any) -> tuple[Vectors, Vectors]:
    whole = np.asarray(point.vector["whole"], np.float32)
    fragments = np.asarray(point.vector.get("fragments") or [], np.float32)
    return whole, fragments.reshape(-1, len(whole))
