"""From rows to figures: ASR, SR, poison, nDCG, recall and false drops, with intervals over queries.

nDCG and recall are those of ir-measures (extra [bench]).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from mithridate.core.errors import MissingExtraError
from mithridate.core.statistics import bootstrap_mean, wilson
from mithridate.retrieval.measuring.lengths import tertiles
from mithridate.retrieval.measuring.records import (
    NDCG_DEPTH,
    AttackAt,
    AttackBand,
    AttackRow,
    CleanAt,
    CleanBand,
    CleanRow,
    Figure,
    FigureAt,
)

F = TypeVar("F")


def check_installed() -> None:
    """Raise MissingExtraError without ir-measures, before anything is measured that it is needed for."""
    _measures()


def ndcg(ranked: Mapping[str, Sequence[str]], qrels: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """nDCG at `NDCG_DEPTH` of each query of `qrels`; `ranked` are document identifiers, best first.

    Raises MissingExtraError without ir-measures.
    """
    return _measured(_measures().nDCG @ NDCG_DEPTH, ranked, qrels)


def recall(
    ranked: Mapping[str, Sequence[str]], qrels: Mapping[str, Mapping[str, int]], k: int
) -> dict[str, float]:
    """The share of each query's relevant documents among the first `k`; otherwise as `ndcg`."""
    return _measured(_measures().R @ k, ranked, qrels)


def _measures() -> Any:
    try:
        import ir_measures  # noqa: PLC0415 - of an extra that searching does not need
    except ImportError as error:
        raise MissingExtraError("measuring a defence", "ir-measures", "bench") from error
    return ir_measures


def _measured(
    measure: Any, ranked: Mapping[str, Sequence[str]], qrels: Mapping[str, Mapping[str, int]]
) -> dict[str, float]:
    # Names and scores of our own. trec_eval crashes at half a surrogate pair, and breaks ties by name.
    queries, documents = _Names(), _Names()
    judged = {
        queries[query]: {documents[document]: grade for document, grade in grades.items()}
        for query, grades in qrels.items()
    }
    scored = {
        queries[query]: {documents[document]: float(-rank) for rank, document in enumerate(found)}
        for query, found in ranked.items()
        if query in qrels
    }
    values = {one.query_id: float(one.value) for one in _measures().iter_calc([measure], judged, scored)}
    return {query: values.get(queries[query], 0.0) for query in qrels}


class _Names(dict[str, str]):
    """A number for each name, as text."""

    def __missing__(self, name: str) -> str:
        self[name] = str(len(self))
        return self[name]


def mean(values: Sequence[float], seed: int) -> Figure:
    """The mean over queries with its bootstrap interval; there must be a value.

    The order of the queries does not matter to it.
    """
    return _mean(tuple(sorted(values)), seed)


@lru_cache(maxsize=4096)  # Most rates of a grid are one of few.
def _mean(values: tuple[float, ...], seed: int) -> Figure:
    return Figure.of(bootstrap_mean(values, seed))


def rate(values: Sequence[bool], seed: int) -> Figure:
    """The share of queries with its bootstrap interval.

    Where all queries agree there is nothing to draw from, and an interval without width would claim
    certainty: then it is Wilson's.
    """
    if len(set(values)) == 1:
        return Figure.of(wilson(sum(values), len(values)))
    return mean([float(value) for value in values], seed)


def attack_at(rows: Sequence[AttackRow], seed: int) -> list[AttackAt]:
    """The figures of each k that the rows hold; none for no rows."""
    found = []
    for column in _columns([row.found for row in rows]):
        judged = [one for one, row in zip(column, rows, strict=True) if row.judged]
        found.append(
            AttackAt(
                k=column[0].k,
                asr=rate([bool(one.own) for one in column], seed),
                any_planted=rate([bool(one.own or one.others) for one in column], seed),
                sr=rate([bool(one.relevant) for one in judged], seed) if judged else None,
                poison=mean([_share(len(one.own) + len(one.others), one.hits) for one in column], seed),
            )
        )
    return found


def attack_bands(rows: Sequence[AttackRow], seed: int) -> list[AttackBand]:
    """ASR by the length of the planted documents."""
    return [
        AttackBand(
            least=band.least,
            most=band.most,
            queries=len(band.rows),
            asr=[
                FigureAt(k=column[0].k, figure=rate([bool(one.own) for one in column], seed))
                for column in _columns([row.found for row in band.rows])
            ],
        )
        for band in tertiles(rows)
    ]


def clean_at(rows: Sequence[CleanRow], seed: int) -> list[CleanAt]:
    """The figures of each k that the rows hold; none for no rows."""
    found = []
    for column in _columns([row.found for row in rows]):
        recalls = [one.recall for one in column if one.recall is not None]
        judged = [bool(one.relevant) for one in column if one.recall is not None]
        found.append(
            CleanAt(
                k=column[0].k,
                recall=mean(recalls, seed) if recalls else None,
                sr=rate(judged, seed) if judged else None,
                dropped_hits=mean([_share(len(one.dropped), one.plain) for one in column], seed),
                dropped_queries=rate([bool(one.dropped) for one in column], seed),
            )
        )
    return found


def clean_bands(rows: Sequence[CleanRow], seed: int) -> list[CleanBand]:
    """nDCG and recall by the length of the relevant documents."""
    return [
        CleanBand(
            least=band.least,
            most=band.most,
            queries=len(band.rows),
            ndcg=mean([row.ndcg or 0.0 for row in band.rows], seed),
            recall=[
                FigureAt(k=column[0].k, figure=mean([one.recall or 0.0 for one in column], seed))
                for column in _columns([row.found for row in band.rows])
            ],
        )
        for band in tertiles(rows)
    ]


def ndcg_of(rows: Sequence[CleanRow], seed: int) -> Figure | None:
    """The mean nDCG over judged queries."""
    known = [row.ndcg for row in rows if row.ndcg is not None]
    return mean(known, seed) if known else None


def ndcg_loss(plain: Sequence[CleanRow], rows: Sequence[CleanRow], seed: int) -> Figure | None:
    """What is lost of the plain search's nDCG, in the mean over the same queries."""
    lost = [
        before.ndcg - after.ndcg
        for before, after in zip(plain, rows, strict=True)
        if before.ndcg is not None and after.ndcg is not None
    ]
    return mean(lost, seed) if lost else None


def _share(count: int, hits: int) -> float:
    return count / hits if hits else 0.0


def _columns(found: Sequence[Sequence[F]]) -> list[list[F]]:
    """What all rows found, one column a k."""
    return [list(column) for column in zip(*found, strict=True)]
