"""Encoders by name, as the command line takes them."""

from __future__ import annotations

from pathlib import Path

from mithridate.core.errors import UnknownNameError
from mithridate.retrieval.base import Encoder
from mithridate.retrieval.encoders.cache import CachedEncoder
from mithridate.retrieval.encoders.hashing import HashingEncoder
from mithridate.retrieval.encoders.minilm import MiniLM
from mithridate.retrieval.encoders.sentence_transformer import SentenceTransformerEncoder

NAMES = ("hashing", "minilm")


def open_encoder(
    spec: str,
    *,
    cache: Path | str | None = None,
    query_prompt: str | None = None,
    document_prompt: str | None = None,
    precision: str = "fp32",
) -> Encoder:
    """The encoder that `spec` names: "minilm", "hashing", or the folder of a sentence-transformers model.

    With `cache`, its vectors are kept in that folder. Prompts and precision ("fp32", "bf16") are for models
    in a folder; "minilm" takes the precision alone. Raises UnknownNameError for what is neither a name nor a
    folder, MissingExtraError where its package is not installed, EncoderError if the folder holds no model.
    """
    encoder: Encoder
    if spec == "hashing":
        encoder = HashingEncoder()
    elif spec == "minilm":
        encoder = MiniLM(precision=precision)
    elif Path(spec).is_dir():
        encoder = SentenceTransformerEncoder(
            spec, query_prompt=query_prompt, document_prompt=document_prompt, precision=precision
        )
    else:
        raise UnknownNameError("encoder or model folder", spec, NAMES)
    return encoder if cache is None else CachedEncoder(encoder, cache)
