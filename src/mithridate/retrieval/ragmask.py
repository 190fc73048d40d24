"""RAGMask: where a document's match sits shows when its spans are masked in turn (arXiv 2512.24268)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mithridate.core.errors import ConfigError
from mithridate.retrieval.base import Encoder, Hit, Query, Reason
from mithridate.retrieval.encodings import Encodings
from mithridate.retrieval.masking import Form, Masking, Span, without
from mithridate.retrieval.ranking import (
    Scores,
    capped,
    check_breadth,
    similarities,
    unseen,
    with_reason,
)


@dataclass(frozen=True, slots=True)
class RAGMask:
    """A span carries the match if the document without it is less similar to the query by `delta` or more.

    Each of the first `breadth_factor` x `top_k` hits (the paper's alpha) is compared with itself less one
    span at a time. All spans that carry the match are taken out, what is left is encoded anew, and the hit
    gets the similarity of that. It is then suspicious. Where nothing is left the similarity is 0 and the
    place the last; that is also what a text of a single span comes to, if that matches at all.

    Spans are of `span_tokens` of the encoder's own tokens; `stride`, `form` and `most_spans` are those of
    `Masking`. The vectors of masked documents do not depend on the query and are cached, so a warm query
    encodes nothing but what is left of documents that lost a span. Long texts, of more than 15,625 characters
    that the encoder reads, have fewer and longer spans, so that one hostile document cannot cost 256 times
    its length: see `Masking`. A match in a long span is found as in a short one, and more goes with it.

    For hits that a plain search ranked by similarity this is the published ranking, with one exception: what
    is left never counts for more than the whole did. Hits that something else ranked keep their order, and
    one that lost a span goes behind those that are more similar than what is left of it; so an infinite
    `delta` changes no order. Scores are similarities, cut so that they fall with rank.

    Raises ConfigError for a delta that is negative or not a number, or spans that `Masking` refuses.
    """

    name: ClassVar[str] = "ragmask"

    span_tokens: int = 8
    delta: float = 0.05
    breadth_factor: int = 2
    form: Form = "delete"
    stride: int | None = None
    most_spans: int = 256

    def __post_init__(self) -> None:
        if not self.delta >= 0:
            raise ConfigError(f"delta is {self.delta}, but must be 0 or more, or infinite")
        check_breadth(self.breadth_factor)
        _ = self.masking

    @property
    def masking(self) -> Masking:
        """How it cuts texts into spans: what `MaskedVectors.fill` needs to know."""
        return Masking(self.span_tokens, self.stride, self.form, self.most_spans)

    def breadth(self, top_k: int) -> int:
        """`breadth_factor` times the answer."""
        return self.breadth_factor * top_k

    def rerank(self, query: Query, hits: Sequence[Hit], top_k: int, encodings: Encodings) -> list[Hit]:
        """All hits, each with its reason; those beyond the breadth follow as they came."""
        looked, rest = hits[: self.breadth(top_k)], hits[self.breadth(top_k) :]
        whole = similarities(encodings.of_hits(looked), query.vector)
        spans, carriers = [], []
        for hit, before in zip(looked, whole, strict=True):
            found, masked = encodings.masked(hit.document.text, self.masking)
            carries = similarities(masked, query.vector) + self.delta <= before
            spans.append(len(found))
            carriers.append([span for span, does in zip(found, carries, strict=True) if does])
        lefts = [without(hit.document.text, cut) for hit, cut in zip(looked, carriers, strict=True)]
        touched = [i for i, cut in enumerate(carriers) if cut]
        left = whole.copy()
        left[touched] = similarities(encodings.documents([lefts[i] for i in touched]), query.vector)
        emptied = [bool(cut) and not text.strip() for cut, text in zip(carriers, lefts, strict=True)]
        seen = [
            with_reason(hit, _reason(self.name, *of_hit))
            for hit, *of_hit in zip(looked, whole, left, carriers, spans, strict=True)
        ]
        return [*_ranked(seen, _keys(whole, left, carriers), emptied), *unseen(self.name, rest)]


def _keys(whole: Scores, left: Scores, carriers: Sequence[Sequence[Span]]) -> list[float]:
    """What hits are ranked by: similarities, made to fall along the hits that lost nothing."""
    keys, lowest = [], math.inf
    for before, after, cut in zip(whole, left, carriers, strict=True):
        if not cut:
            lowest = min(lowest, float(before))
        keys.append(min(float(before), float(after)) if cut else lowest)
    return keys


def _ranked(hits: Sequence[Hit], keys: Sequence[float], emptied: Sequence[bool]) -> list[Hit]:
    order = sorted(range(len(hits)), key=lambda i: (emptied[i], -keys[i]))
    return capped([replace(hits[i], score=keys[i]) for i in order])


def _reason(name: str, whole: float, left: float, carriers: Sequence[Span], spans: int) -> Reason:
    evidence = {
        "spans": spans,
        "carriers": [list(span) for span in carriers],
        "similarity": float(whole),
        "similarity_left": float(left),
    }
    if not carriers:
        return Reason(name, suspicious=False, says=f"no span of {spans} carries the match", evidence=evidence)
    says = (
        f"{len(carriers)} of {spans} spans carry the match: similarity {whole:.3f}, without them {left:.3f}"
    )
    return Reason(name, suspicious=True, says=says, evidence=evidence)


def published(
    defense: RAGMask, query: Query, hits: Sequence[Hit], top_k: int, encoder: Encoder
) -> tuple[list[Hit], int]:
    """RAGMask as published: every masked document is encoded for every query, and nothing is remembered.

    `hits` are those of a plain search. Returns its candidates as it ranks them, without reasons, and how many
    texts were encoded. It is here to be compared with: for tests, and for benchmarks.
    """
    encoded = 0
    scored: list[tuple[bool, float, Hit]] = []

    def similarity(texts: Iterable[str]) -> list[float]:
        nonlocal encoded
        some = list(texts)
        filled = [text for text in some if text.strip()]
        encoded += len(filled)
        found = iter(similarities(encoder.encode(filled), query.vector) if filled else ())
        return [float(next(found)) if text.strip() else 0.0 for text in some]

    for hit in hits[: defense.breadth(top_k)]:
        text = hit.document.text
        if hit.vector is None:
            (before,) = similarity([text])
        else:
            before = float(similarities(hit.vector[np.newaxis], query.vector)[0])
        masked = list(defense.masking.masked_texts(text, encoder))
        after = similarity(without_span for _, without_span in masked)
        carriers = [
            span for (span, _), fallen in zip(masked, after, strict=True) if fallen + defense.delta <= before
        ]
        rest = without(text, carriers)
        score = min(before, *similarity([rest])) if carriers else before
        scored.append((bool(carriers) and not rest.strip(), score, hit))
    scored.sort(key=lambda one: (one[0], -one[1]))
    return capped([replace(hit, score=score) for _, score, hit in scored]), encoded
