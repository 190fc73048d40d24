"""Vector stores that hold what the guard needs. Their clients are imported when a store is made."""

from mithridate.retrieval.stores.base import VectorStore
from mithridate.retrieval.stores.postgres import PostgresStore
from mithridate.retrieval.stores.qdrant import QdrantStore
from mithridate.retrieval.stores.store_index import StoreIndex

__all__ = ["PostgresStore", "QdrantStore", "StoreIndex", "VectorStore"]
