"""Whether an encoder sees a document in its fragments: without that, RAGPart does not apply."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mithridate.core.types import Document
from mithridate.retrieval.base import Encoder, Vectors
from mithridate.retrieval.encoders.batches import encode_in_batches
from mithridate.retrieval.fragments import fragments as cut

CROP_LEVEL = 0.55
"""Mean cosine of fragment and document below which fragments do not stand for their document.

all-MiniLM-L6-v2 has .76 on abstracts of about 230 words (NFCorpus) and .50 on their first 25 words alone: the
length of the documents counts as much as the encoder. Hashed words have about .5.
"""

# In shorter documents a fragment is a word or two, of which no encoder can make a document.
_WORDS_A_FRAGMENT = 4
_FEWEST_DOCUMENTS = 5
_SEED = 0


@dataclass(frozen=True, slots=True)
class CropCheck:
    """How like their documents the fragments are.

    `mean` is the mean cosine over all fragments of the sampled documents (NaN where too few are long enough),
    `low` that over the tenth of the documents whose fragments are least like them, `documents` how many were
    looked at. `warning` is empty where there is nothing to say.
    """

    mean: float
    low: float
    documents: int
    ok: bool
    warning: str


def crop_consistency(
    encoder: Encoder, documents: Sequence[Document], fragments: int = 5, sample: int = 200
) -> CropCheck:
    """Encode a sample of documents whole and in fragments, and compare.

    The sample is drawn with a fixed seed from documents of at least four words a fragment. With fewer than
    five such documents nothing can be said: `ok`, with a warning.
    """
    texts = [document.text for document in documents if long_enough(document.text, fragments)]
    chosen = random.Random(_SEED).sample(texts, min(sample, len(texts)))
    pieces = encode_in_batches(encoder, [piece for text in chosen for piece in cut(text, fragments)])
    shape = (len(chosen), fragments, encoder.dimension)
    return judge(encode_in_batches(encoder, chosen), pieces.reshape(shape), encoder.identity)


def long_enough(text: str, fragments: int) -> bool:
    """Whether the fragments of `text` are more than a word or two."""
    fewest = _WORDS_A_FRAGMENT * fragments
    # No need to count all the words of ten megabytes.
    return len(text.split(maxsplit=fewest)) >= fewest


def judge(whole: Vectors, pieces: Vectors, identity: str) -> CropCheck:
    """The check on unit vectors that are there: of documents (n, d) and of their fragments (n, N, d)."""
    if len(whole) < _FEWEST_DOCUMENTS:
        warning = (
            f"only {len(whole)} of the documents looked at have {_WORDS_A_FRAGMENT} words a fragment or "
            "more, too few to say whether this encoder sees a document in its fragments"
        )
        return CropCheck(float("nan"), float("nan"), len(whole), True, warning)
    likeness = np.einsum("nd,nfd->nf", whole, pieces).mean(axis=1)
    mean, lowest = float(likeness.mean()), np.sort(likeness)[: max(1, len(whole) // 10)]
    ok = mean >= CROP_LEVEL
    return CropCheck(mean, float(lowest.mean()), len(whole), ok, "" if ok else _warning(identity, mean))


def _warning(identity: str, mean: float) -> str:
    return (
        f"the encoder {identity} sees little of these documents in their fragments (mean cosine {mean:.2f}, "
        f"where {CROP_LEVEL} or more is needed): RAGPart does not apply to them. Use another encoder, fewer "
        "fragments, or RAGMask"
    )
