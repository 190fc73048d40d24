"""The peer that the guard's defences stand beside: the package `ragdefender`, as a reranker.

It is for comparison only, and no dependency. Install it beside the environment and name the folder:

    pip install --no-deps --target FOLDER ragdefender
    PYTHONPATH=FOLDER python benchmarks/retrieval_quality.py
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mithridate.retrieval.base import Hit, Query, Reason
from mithridate.retrieval.controls import Plain
from mithridate.retrieval.encodings import Encodings
from mithridate.retrieval.measuring.written import Chain
from mithridate.retrieval.ranking import demoted, unseen


@dataclass(frozen=True, slots=True)
class Peer:
    """RAGDefender over the first 2 x `top_k` hits, which is what our rerankers see.

    It deletes; here what it would delete goes behind the other hits, as what ours suspect does.
    """

    name: ClassVar[str] = "ragdefender"

    defender: Any
    breadth_factor: int = 2

    def breadth(self, top_k: int) -> int:
        return self.breadth_factor * top_k

    def rerank(self, query: Query, hits: Sequence[Hit], top_k: int, encodings: Encodings) -> list[Hit]:
        looked, rest = hits[: self.breadth(top_k)], hits[self.breadth(top_k) :]
        texts = [hit.document.text for hit in looked]
        _, removed = self.defender.defend(query.text, texts, return_indices=True)
        # It encodes by itself; so that its costs stand beside ours, what it encodes is counted here too.
        encodings.count += len(texts)
        reasons = [
            Reason(self.name, suspicious=row in removed, says="it would delete this hit" * (row in removed))
            for row in range(len(looked))
        ]
        return [*demoted(looked, reasons), *unseen(self.name, rest)]


def peer_chain(model: Any) -> Chain | str:
    """The peer with a SentenceTransformer as its embedder, or why there is none."""
    try:
        package = importlib.import_module("ragdefender")
    except ImportError as error:
        return f"the peer ragdefender is left out: {error}"
    defender = package.RAGDefender(embedder=model, task_type="single_hop", device="cpu")
    return Chain(f"ragdefender {package.__version__}", Plain(), (Peer(defender),))
