"""The retrieval guard: defences against planted documents, over an index of one's own or any vector store.

Every name is imported when it is first asked for: a guard over a store needs no index, and neither needs
torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mithridate.retrieval.attacks.base import ATTACKS as ATTACKS
    from mithridate.retrieval.attacks.base import RetrievalAttack as RetrievalAttack
    from mithridate.retrieval.attacks.base import build_attack as build_attack
    from mithridate.retrieval.base import Encoder as Encoder
    from mithridate.retrieval.base import Hit as Hit
    from mithridate.retrieval.base import Layout as Layout
    from mithridate.retrieval.base import Mode as Mode
    from mithridate.retrieval.base import Query as Query
    from mithridate.retrieval.base import Ranked as Ranked
    from mithridate.retrieval.base import Reason as Reason
    from mithridate.retrieval.base import Reranker as Reranker
    from mithridate.retrieval.base import Retriever as Retriever
    from mithridate.retrieval.base import StoredVectors as StoredVectors
    from mithridate.retrieval.base import TextRole as TextRole
    from mithridate.retrieval.consensus import Consensus as Consensus
    from mithridate.retrieval.controls import Concatenated as Concatenated
    from mithridate.retrieval.controls import MeanOfFragments as MeanOfFragments
    from mithridate.retrieval.controls import Plain as Plain
    from mithridate.retrieval.crop_check import CropCheck as CropCheck
    from mithridate.retrieval.crop_check import crop_consistency as crop_consistency
    from mithridate.retrieval.defenses import DEFENSES as DEFENSES
    from mithridate.retrieval.defenses import build_defense as build_defense
    from mithridate.retrieval.defenses import build_from_spec as build_from_spec
    from mithridate.retrieval.defenses import spec as spec
    from mithridate.retrieval.encoders.cache import CachedEncoder as CachedEncoder
    from mithridate.retrieval.encoders.hashing import HashingEncoder as HashingEncoder
    from mithridate.retrieval.encoders.minilm import MiniLM as MiniLM
    from mithridate.retrieval.encoders.named import open_encoder as open_encoder
    from mithridate.retrieval.encoders.plain import as_encoder as as_encoder
    from mithridate.retrieval.encoders.sentence_transformer import (
        SentenceTransformerEncoder as SentenceTransformerEncoder,
    )
    from mithridate.retrieval.encodings import Encodings as Encodings
    from mithridate.retrieval.encodings import VectorMemory as VectorMemory
    from mithridate.retrieval.guard import Answer as Answer
    from mithridate.retrieval.guard import Guard as Guard
    from mithridate.retrieval.guard import assemble as assemble
    from mithridate.retrieval.index import GuardedIndex as GuardedIndex
    from mithridate.retrieval.masked_vectors import MaskedVectors as MaskedVectors
    from mithridate.retrieval.masking import Masking as Masking
    from mithridate.retrieval.observing import bring_up as bring_up
    from mithridate.retrieval.perplexity import PerplexityFilter as PerplexityFilter
    from mithridate.retrieval.ragmask import RAGMask as RAGMask
    from mithridate.retrieval.ragpart import RAGPart as RAGPart
    from mithridate.retrieval.sources import open_documents as open_documents
    from mithridate.retrieval.sources import open_task as open_task
    from mithridate.retrieval.stores.base import VectorStore as VectorStore
    from mithridate.retrieval.stores.postgres import PostgresStore as PostgresStore
    from mithridate.retrieval.stores.qdrant import QdrantStore as QdrantStore
    from mithridate.retrieval.stores.store_index import StoreIndex as StoreIndex
    from mithridate.retrieval.task import RetrievalTask as RetrievalTask

__all__ = [
    "ATTACKS",
    "DEFENSES",
    "Answer",
    "CachedEncoder",
    "Concatenated",
    "Consensus",
    "CropCheck",
    "Encoder",
    "Encodings",
    "Guard",
    "GuardedIndex",
    "HashingEncoder",
    "Hit",
    "Layout",
    "MaskedVectors",
    "Masking",
    "MeanOfFragments",
    "MiniLM",
    "Mode",
    "PerplexityFilter",
    "Plain",
    "PostgresStore",
    "QdrantStore",
    "Query",
    "RAGMask",
    "RAGPart",
    "Ranked",
    "Reason",
    "Reranker",
    "RetrievalAttack",
    "RetrievalTask",
    "Retriever",
    "SentenceTransformerEncoder",
    "StoreIndex",
    "StoredVectors",
    "TextRole",
    "VectorMemory",
    "VectorStore",
    "as_encoder",
    "assemble",
    "bring_up",
    "build_attack",
    "build_defense",
    "build_from_spec",
    "crop_consistency",
    "open_documents",
    "open_encoder",
    "open_task",
    "spec",
]

_PLACES = {
    "attacks": ("ATTACKS", "RetrievalAttack", "build_attack"),
    "base": (
        "Encoder",
        "Hit",
        "Layout",
        "Mode",
        "Query",
        "Ranked",
        "Reason",
        "Reranker",
        "Retriever",
        "StoredVectors",
        "TextRole",
    ),
    "consensus": ("Consensus",),
    "controls": ("Concatenated", "MeanOfFragments", "Plain"),
    "crop_check": ("CropCheck", "crop_consistency"),
    "defenses": ("DEFENSES", "build_defense", "build_from_spec", "spec"),
    "encoders": (
        "CachedEncoder",
        "HashingEncoder",
        "MiniLM",
        "SentenceTransformerEncoder",
        "as_encoder",
        "open_encoder",
    ),
    "encodings": ("Encodings", "VectorMemory"),
    "guard": ("Answer", "Guard", "assemble"),
    "index": ("GuardedIndex",),
    "masked_vectors": ("MaskedVectors",),
    "masking": ("Masking",),
    "observing": ("bring_up",),
    "perplexity": ("PerplexityFilter",),
    "ragmask": ("RAGMask",),
    "ragpart": ("RAGPart",),
    "sources": ("open_documents", "open_task"),
    "stores": ("PostgresStore", "QdrantStore", "StoreIndex", "VectorStore"),
    "task": ("RetrievalTask",),
}
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
