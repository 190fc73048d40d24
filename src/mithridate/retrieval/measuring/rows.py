"""One chain asked all queries: what came up, query by query."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import NamedTuple

from mithridate.core.types import Document
from mithridate.retrieval.base import Hit, Query
from mithridate.retrieval.measuring import metrics
from mithridate.retrieval.measuring.lengths import words
from mithridate.retrieval.measuring.records import (
    NDCG_DEPTH,
    AttackRow,
    CleanRow,
    FoundClean,
    FoundUnderAttack,
)
from mithridate.retrieval.measuring.searching import Searcher
from mithridate.retrieval.task import RetrievalTask


def clean_rows(
    searcher: Searcher,
    undefended: Mapping[str, Sequence[str]],
    task: RetrievalTask,
    queries: Mapping[str, Query],
    top_ks: Sequence[int],
    step: Callable[[], object],
) -> list[CleanRow]:
    """What the chain finds on the clean corpus, and what it would drop there of the hits of the plain search.

    `undefended` are these hits by query, as `found_by` gives them for the deepest of `top_ks`. `step` is
    called after each query.
    """
    answers: dict[str, dict[int, _Asked]] = {}
    for name, query in queries.items():
        answers[name] = {}
        for k in sorted({*top_ks, NDCG_DEPTH}):
            answer, dropped = searcher.answer_and_dropped(query, k)
            answers[name][k] = _Asked(_ids(answer.hits), undefended[name][:k], dropped)
        step()
    qrels = {name: task.relevant(name) for name in queries if task.relevant(name)}
    ranked = {k: {name: asked[k].found for name, asked in answers.items()} for k in {*top_ks, NDCG_DEPTH}}
    recalls = {k: metrics.recall(ranked[k], qrels, k) for k in top_ks}
    ndcg = metrics.ndcg(ranked[NDCG_DEPTH], qrels)
    texts = {document.id: document.text for document in task.documents}
    rows = []
    for name, asked in answers.items():
        relevant = task.relevant(name)
        there = [texts[one] for one in relevant if one in texts]
        rows.append(
            CleanRow(
                query=name,
                words=words(there) if there else None,
                ndcg=ndcg.get(name),
                found=[_clean(asked[k], k, relevant.keys(), recalls[k].get(name)) for k in top_ks],
            )
        )
    return rows


def found_by(searcher: Searcher, queries: Mapping[str, Query], k: int) -> dict[str, list[str]]:
    """The identifiers of the first `k` hits for each query, best first."""
    return {name: _ids(searcher.answer(query, k).hits) for name, query in queries.items()}


def attack_rows(
    searcher: Searcher,
    task: RetrievalTask,
    queries: Mapping[str, Query],
    planted: Mapping[str, Sequence[Document]],
    top_ks: Sequence[int],
    step: Callable[[], object],
) -> list[AttackRow]:
    """What the chain finds for the queries that documents were `planted` for, all of them at once."""
    everyone = {document.id for documents in planted.values() for document in documents}
    rows = []
    for name, documents in planted.items():
        own, relevant = {document.id for document in documents}, task.relevant(name)
        found = []
        for k in top_ks:
            ids = _ids(searcher.answer(queries[name], k).hits)
            found.append(
                FoundUnderAttack(
                    k=k,
                    hits=len(ids),
                    own=_ranks(ids, own),
                    others=_ranks(ids, everyone - own),
                    relevant=_ranks(ids, relevant.keys()),
                )
            )
        length = words([document.text for document in documents])
        rows.append(AttackRow(query=name, words=length, judged=bool(relevant), found=found))
        step()
    return rows


class _Asked(NamedTuple):
    """What the chain found, what the plain search found, and what the chain would drop of anything."""

    found: list[str]
    plain: Sequence[str]
    dropped: Set[str]


def _clean(asked: _Asked, k: int, relevant: Set[str], recall: float | None) -> FoundClean:
    return FoundClean(
        k=k,
        hits=len(asked.found),
        relevant=_ranks(asked.found, relevant),
        plain=len(asked.plain),
        dropped=_ranks(asked.plain, asked.dropped),
        recall=recall,
    )


def _ids(hits: Sequence[Hit]) -> list[str]:
    return [hit.document.id for hit in hits]


def _ranks(found: Sequence[str], wanted: Set[str]) -> list[int]:
    return [rank for rank, document in enumerate(found, 1) if document in wanted]
