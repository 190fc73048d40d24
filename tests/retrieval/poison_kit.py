"""A task with everything that attacks ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from index_kit import some_documents

from mithridate.core.types import Document
from mithridate.retrieval.attacks import (
    Paraphrased,
    PoisonedRAG,
    QueryAsPoison,
    Repeated,
    RetrievalAttack,
    SpreadMatch,
    WrongContext,
)
from mithridate.retrieval.base import Encoder
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.task import RetrievalTask

BLACK_BOX: list[Any] = [
    QueryAsPoison(),
    QueryAsPoison("wrong_contexts"),
    PoisonedRAG(),
    PoisonedRAG(with_query=False),
    WrongContext(),
    Repeated(3),
    SpreadMatch(),
    Paraphrased(),
]


def a_task(documents: int = 30, words: int = 40) -> RetrievalTask:
    """Queries `lantern` and `stone` have an answer, the first also wrong contexts; `amber` has neither."""
    return RetrievalTask(
        tuple(some_documents(documents, words)),
        {
            "lantern": "who painted the lantern of the harbour",
            "stone": "which stone lies by the river?",
            "amber": "what is amber",
        },
        {"lantern": {"d1": 1, "d2": 0}, "stone": {"d3": 2}},
        {"lantern": ("A heron painted it.", "It was painted by a falcon.", "Nobody did.")},
    )


def poison(
    attack: RetrievalAttack,
    task: RetrievalTask,
    queries: Sequence[str] = ("lantern",),
    *,
    copies: int = 2,
    seed: int = 0,
    encoder: Encoder | None = None,
) -> list[Document]:
    rng = np.random.default_rng(seed)
    return attack.poison(task, queries, rng, copies=copies, encoder=encoder or HashingEncoder())
