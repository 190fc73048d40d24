"""A small task, a benchmark of it, and rows of a benchmark written by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from mithridate.core.types import Document
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.measuring.benchmark import run_benchmark
from mithridate.retrieval.measuring.options import BenchOptions
from mithridate.retrieval.measuring.records import (
    AttackRow,
    BenchResult,
    CleanRow,
    Cost,
    FoundClean,
    FoundUnderAttack,
)
from mithridate.retrieval.task import RetrievalTask

_SUBJECTS = """
amber barley cinder compass falcon glacier harbour lantern meadow orchard quarry saffron
"""
_FILLING = """
river stone copper violin anchor velvet heron marble clover beacon tundra willow ember pepper
"""
SUBJECTS, FILLING = _SUBJECTS.split(), _FILLING.split()


def bench_task(subjects: int = 8, words: int = 30) -> RetrievalTask:
    """A document of its own for each subject, some about nothing, and a question for each subject.

    The first subjects have wrong contexts.
    """
    rng = random.Random(0)
    documents = []
    for number, subject in enumerate(SUBJECTS[:subjects]):
        filling = rng.choices(FILLING, k=words + 3 * number)
        for place in range(0, len(filling), 6):
            filling.insert(place, subject)
        documents.append(Document(f"about-{subject}", " ".join(filling)))
    documents += [Document(f"other-{i}", " ".join(rng.choices(FILLING, k=words))) for i in range(12)]
    names = SUBJECTS[:subjects]
    return RetrievalTask(
        tuple(documents),
        {f"q-{name}": f"where does one find {name} nowadays" for name in names},
        {f"q-{name}": {f"about-{name}": 1} for name in names},
        {f"q-{name}": (f"Nowadays one finds {name} nowhere but in shops.",) for name in names[:3]},
    )


def benched(task: RetrievalTask | None = None, **options: Any) -> BenchResult:
    """A benchmark with hashed words, quick unless asked for more."""
    quick: dict[str, Any] = {"defenses": ("ragpart",), "top_ks": (1, 3), "timed_queries": 1, "queries": None}
    given = BenchOptions(**{**quick, **options})
    return run_benchmark(task or bench_task(), HashingEncoder(64), given, name="small")


def attacked_row(
    query: str, own: Sequence[int], others: Sequence[int] = (), relevant: Sequence[int] = (), **more: Any
) -> AttackRow:
    found = FoundUnderAttack(k=5, hits=5, own=list(own), others=list(others), relevant=list(relevant))
    return AttackRow(**{"query": query, "words": 10.0, "judged": True, "found": [found], **more})


def clean_row(
    query: str, ndcg: float | None, *, dropped: Sequence[int] = (), words: float | None = 10.0
) -> CleanRow:
    """A query whose recall is its nDCG; None for one that is not judged."""
    found = FoundClean(k=5, hits=5, relevant=[1] if ndcg else [], plain=5, dropped=list(dropped), recall=ndcg)
    return CleanRow(query=query, words=None if ndcg is None else words, ndcg=ndcg, found=[found])


def a_cost(*, encodings: float = 0.0, ms: float = 1.0, size: int = 100) -> Cost:
    return Cost(
        k=5,
        ms_median=ms,
        ms_p95=ms,
        encodings=encodings,
        encodings_cold=encodings,
        index_bytes=size,
        build_encodings=10,
        build_seconds=None,
    )
