"""Encoders: texts to unit vectors. Models are imported when they are asked for, never here."""

from mithridate.retrieval.encoders.batches import encode_in_batches
from mithridate.retrieval.encoders.cache import CachedEncoder
from mithridate.retrieval.encoders.hashing import HashingEncoder
from mithridate.retrieval.encoders.minilm import MiniLM
from mithridate.retrieval.encoders.named import open_encoder
from mithridate.retrieval.encoders.plain import as_encoder
from mithridate.retrieval.encoders.sentence_transformer import SentenceTransformerEncoder

__all__ = [
    "CachedEncoder",
    "HashingEncoder",
    "MiniLM",
    "SentenceTransformerEncoder",
    "as_encoder",
    "encode_in_batches",
    "open_encoder",
]
