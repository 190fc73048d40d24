"""One chain of defences over a shared corpus, searched as a `GuardedIndex` searches, timed and counted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar

import numpy as np

from mithridate.retrieval.base import Encoder, Hit, Mode, Query, Ranked, Vectors
from mithridate.retrieval.encodings import Encodings
from mithridate.retrieval.guard import Answer, Guard
from mithridate.retrieval.masked_vectors import MaskedVectors
from mithridate.retrieval.masking import Masking, Span
from mithridate.retrieval.measuring.corpus_vectors import CorpusVectors
from mithridate.retrieval.measuring.records import Cost
from mithridate.retrieval.measuring.written import Chain
from mithridate.retrieval.observing import bring_up


class WatchedMasks(MaskedVectors):
    """Masked vectors in memory that know what was asked of them: what a search without them would encode."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self._asked: dict[tuple[str, str], int] = {}

    def get(self, text: str, masking: Masking) -> tuple[list[Span], Vectors] | None:
        """As its parent."""
        found = super().get(text, masking)
        if found is not None:
            self._watch(text, masking, found[1])
        return found

    def put(self, text: str, masking: Masking, spans: Sequence[Span], vectors: Vectors) -> None:
        """As its parent."""
        super().put(text, masking, spans, vectors)
        self._watch(text, masking, vectors)

    def forget(self) -> None:
        """Begin to count anew; the vectors stay."""
        self._asked.clear()

    @property
    def asked(self) -> int:
        """How many masked texts were asked for, each counted once; blank ones, never encoded, are none."""
        return sum(self._asked.values())

    def _watch(self, text: str, masking: Masking, vectors: Vectors) -> None:
        self._asked[masking.key, text] = int(vectors.any(axis=1).sum())


class Searcher:
    """A chain over the corpus as it is now; it holds until documents come or go.

    Ranks are measured, so it demotes. What the mode "drop" would leave out is what looks planted to it among
    all that it looked at: that may have fallen behind the answer.
    """

    def __init__(self, chain: Chain, corpus: CorpusVectors, encoder: Encoder, masks: WatchedMasks) -> None:
        self._retriever, self._documents = chain.retriever, corpus.documents
        self._vectors = corpus.view(chain.layout)
        self._guard = Guard(chain.rerankers, encoder, mode=Mode.DEMOTE, masked=masks)
        self._witness = _Witness()
        self._witnessed = Guard([*chain.rerankers, self._witness], encoder, mode=Mode.DEMOTE, masked=masks)

    def answer(self, query: Query, k: int) -> Answer:
        """At most `k` hits, found as a `GuardedIndex` finds them."""
        return self._ask(self._guard, query, k)

    def answer_and_dropped(self, query: Query, k: int) -> tuple[Answer, frozenset[str]]:
        """The answer, and the identifiers of all that the mode "drop", with no floor, would leave out."""
        return self._ask(self._witnessed, query, k), self._witness.suspicious

    def _ask(self, guard: Guard, query: Query, k: int) -> Answer:
        found = bring_up(self._retriever, self._vectors, query.vector, guard.breadth(k), guard.mode)
        return guard.rerank(query, [self._hit(ranked) for ranked in found], k)

    def _hit(self, ranked: Ranked) -> Hit:
        whole = self._vectors.whole
        return Hit(
            self._documents[ranked.row],
            ranked.score,
            () if ranked.reason is None else (ranked.reason,),
            np.array(whole[ranked.row]) if whole.shape[1] else None,
        )


@dataclass(slots=True)
class _Witness:
    """The last of a chain: it changes nothing, and sees what looks planted behind the answer too."""

    name: ClassVar[str] = "witness"

    suspicious: frozenset[str] = frozenset()

    def breadth(self, top_k: int) -> int:
        return top_k

    def rerank(
        self,
        query: Query,  # noqa: ARG002 - it only looks at what others found
        hits: Sequence[Hit],
        top_k: int,  # noqa: ARG002
        encodings: Encodings,  # noqa: ARG002
    ) -> list[Hit]:
        self.suspicious = frozenset(hit.document.id for hit in hits if hit.suspicious)
        return list(hits)


def cost_of(
    chain: Chain,
    corpus: CorpusVectors,
    queries: Sequence[Query],
    k: int,
    *,
    warm: Searcher,
    encoder: Encoder,
    masks: WatchedMasks,
) -> Cost:
    """Time `queries`, of which there must be one, one by one.

    `warm` is the same chain, which has `masks` filled before each is timed; `encoder` must be one that no
    cache stands before, or nothing true would be timed.
    """
    timed = Searcher(chain, corpus, encoder, masks)
    milliseconds, encodings, cold = [], [], []
    for query in queries:
        warm.answer(query, k)
        masks.forget()
        started = time.perf_counter()
        answer = timed.answer(query, k)
        milliseconds.append((time.perf_counter() - started) * 1000)
        encodings.append(answer.encodings)
        cold.append(answer.encodings + masks.asked)
    built = corpus.build_cost(chain.layout)
    return Cost(
        k=k,
        ms_median=float(np.median(milliseconds)),
        ms_p95=float(np.quantile(milliseconds, 0.95)),
        encodings=fmean(encodings),
        encodings_cold=fmean(cold),
        index_bytes=sum(rows.nbytes for _, rows in corpus.view(chain.layout).named()),
        build_encodings=built.texts,
        build_seconds=built.seconds,
    )
