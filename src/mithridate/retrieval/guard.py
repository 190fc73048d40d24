"""The guard: rerankers in a row over the hits of any store, and a mode that acts on what they find."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from mithridate.core.errors import ConfigError, EncoderError, UnknownNameError
from mithridate.core.types import Document
from mithridate.retrieval.asking import ask, check_query
from mithridate.retrieval.base import Encoder, Hit, Mode, Query, Reranker
from mithridate.retrieval.encoders.plain import Encodes, as_encoder
from mithridate.retrieval.encodings import Encodings, VectorMemory
from mithridate.retrieval.masked_vectors import MaskedVectors
from mithridate.retrieval.ranking import capped, similarities
from mithridate.retrieval.telemetry import guarding, reranking

_log = logging.getLogger("mithridate.retrieval")

Found: TypeAlias = Sequence[Hit] | Sequence[Document] | Sequence[str]
"""What a store returned, best first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gets: the hits, best first, and what a mode left out of them.

    `warnings` say where the answer is not what was asked for. `encodings` is how many texts were encoded for
    it, the query itself left out.
    """

    hits: tuple[Hit, ...]
    removed: tuple[Hit, ...] = ()
    warnings: tuple[str, ...] = ()
    encodings: int = 0


class Guard:
    """Rerankers, each of which sees the order that the one before it made.

    `encoder` is one, or anything with `encode(list[str]) -> array`; it need not be the store's own. `masked`
    keeps what RAGMask encodes, in memory if it is None. A guard may be used by many threads at once.

    Raises ConfigError for a negative floor, UnknownNameError for an unknown mode, EncoderError if `masked`
    holds another encoder's vectors.
    """

    def __init__(
        self,
        rerankers: Sequence[Reranker],
        encoder: Encoder | Encodes,
        *,
        mode: Mode | str = Mode.DEMOTE,
        floor: int = 1,
        masked: MaskedVectors | None = None,
    ) -> None:
        if floor < 0:
            raise ConfigError(f"floor is {floor}, but the least number of hits cannot be negative")
        self.rerankers = tuple(rerankers)
        self.encoder = as_encoder(encoder)
        self.mode = as_mode(mode)
        self.floor = floor
        self.masked = MaskedVectors(self.encoder) if masked is None else masked
        self.masked.check(self.encoder)
        self._memory = VectorMemory()

    def breadth(self, top_k: int) -> int:
        """How many hits to ask a store for, so that every reranker sees what it wants to."""
        return max([top_k, *(reranker.breadth(top_k) for reranker in self.rerankers)])

    def encodings(self) -> Encodings:
        """A count from zero, over the memories that all queries of this guard share."""
        return Encodings(self.encoder, self.masked, memory=self._memory)

    def rerank(self, query: str | Query, hits: Found, top_k: int) -> Answer:
        """The answer of at most `top_k` hits to `query`, out of what a store found, best first.

        Scores are taken to be the higher the better. Documents and texts that come without one are scored by
        their similarity to the query, and keep their order. Raises QueryError for an empty query or a `top_k`
        below 1, EncoderError for vectors of another dimension than the encoder's.
        """
        text = query if isinstance(query, str) else query.text
        with guarding([one.name for one in self.rerankers], self.mode, text, top_k) as tell:
            encodings = self.encodings()
            asked = self._asked(query, top_k)
            given = _as_hits(hits, asked, encodings)
            ranked = given
            for reranker in self.rerankers:
                with reranking(reranker.name, text, ranked, top_k) as tell_order:
                    ranked = _complete(reranker, ranked, reranker.rerank(asked, ranked, top_k, encodings))
                    tell_order(ranked)
            answer = assemble(
                given, ranked, mode=self.mode, floor=self.floor, top_k=top_k, encodings=encodings.count
            )
            tell(answer)
        return answer

    def _asked(self, query: str | Query, top_k: int) -> Query:
        if isinstance(query, str):
            (query,) = ask(self.encoder, [query], top_k)
        else:
            check_query(query.text, top_k)
        if query.vector.shape != (self.encoder.dimension,):
            raise EncoderError(
                f"the query's vector has the shape {query.vector.shape}, but encoder "
                f"{self.encoder.identity!r} makes ({self.encoder.dimension},)"
            )
        return query


def as_mode(mode: Mode | str) -> Mode:
    """The mode of that name; UnknownNameError if there is none."""
    try:
        return Mode(mode)
    except ValueError:
        raise UnknownNameError("mode", str(mode), [known.value for known in Mode]) from None


def assemble(
    given: Sequence[Hit], ranked: Sequence[Hit], *, mode: Mode, floor: int, top_k: int, encodings: int = 0
) -> Answer:
    """The answer under a mode.

    `given` are the hits in the order of the search, `ranked` the same documents in the defences' order with
    their reasons. *Observe* keeps order and scores of `given`. *Demote* takes those of `ranked`. *Drop* takes
    `ranked` without what looks planted; if fewer than `floor` hits are left, the best of what was dropped
    come back at the end, with a warning. In every mode scores are cut so that they never rise with rank:
    frameworks that sort by them again keep the order.
    """
    warnings: list[str] = []
    removed: tuple[Hit, ...] = ()
    if mode is Mode.OBSERVE:
        reasons = {id(hit.document): hit.reasons for hit in ranked}
        hits = capped([replace(hit, reasons=reasons[id(hit.document)]) for hit in given[:top_k]])
    elif mode is Mode.DEMOTE:
        hits = capped(ranked[:top_k])
    else:
        kept = [hit for hit in ranked if not hit.suspicious][:top_k]
        planted = [hit for hit in ranked if hit.suspicious]
        back = planted[: max(0, min(floor, top_k) - len(kept))]
        hits, removed = capped([*kept, *back]), tuple(planted[len(back) :])
        if back:
            warnings.append(
                f"{len(planted)} of {len(ranked)} hits look planted; {len(back)} of them came back, "
                f"because an answer shall have at least {floor}"
            )
    if not hits:
        warnings.append(
            f"the answer is empty: all {len(removed)} hits look planted" if removed else "nothing was found"
        )
    for warning in warnings:
        _log.warning("%s", warning)
    return Answer(tuple(hits), removed, tuple(warnings), encodings)


def _as_hits(found: Found, query: Query, encodings: Encodings) -> list[Hit]:
    """Hits of whatever came, each with a document object of its own, by which it is known from here on."""
    hits: list[Hit] = []
    for position, one in enumerate(found):
        if isinstance(one, str):
            hits.append(Hit(Document(str(position), one), np.nan))
        elif isinstance(one, Document):
            hits.append(Hit(replace(one), np.nan))
        elif isinstance(one, Hit):
            hits.append(replace(one, document=replace(one.document)))
        else:
            raise ConfigError(f"hit {position} is a {type(one).__name__}; expected Hit, Document or str")
    unscored = [i for i, hit in enumerate(hits) if np.isnan(hit.score)]
    vectors = encodings.of_hits([hits[i] for i in unscored])
    for i, vector, score in zip(unscored, vectors, similarities(vectors, query.vector), strict=True):
        hits[i] = replace(hits[i], score=float(score), vector=vector)
    return hits


def _complete(reranker: Reranker, before: Sequence[Hit], after: Sequence[Hit]) -> list[Hit]:
    """What a reranker returned, if that is every hit once."""
    if sorted(id(hit.document) for hit in before) != sorted(id(hit.document) for hit in after):
        raise ConfigError(
            f"defence {reranker.name!r} returned {len(after)} hits for {len(before)}, or other documents; a "
            "reranker must return every hit once, with the document it came with"
        )
    return list(after)
