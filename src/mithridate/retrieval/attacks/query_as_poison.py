"""Query as poison: the question stands before a text, and the text comes up wherever it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mithridate.core.types import Document
from mithridate.retrieval.attacks.base import led_by, plant
from mithridate.retrieval.attacks.carriers import CORPUS, open_carriers
from mithridate.retrieval.base import Encoder
from mithridate.retrieval.task import RetrievalTask


@dataclass(frozen=True, slots=True)
class QueryAsPoison:
    """The query, a full stop, and a text that does not answer it (after PoisonedRAG, arXiv 2402.07867).

    `texts` says where that is from: "corpus", "wrong_contexts", or the path of a file; see `open_carriers`.
    """

    name: ClassVar[str] = "query_as_poison"

    texts: str = CORPUS

    def poison(
        self,
        task: RetrievalTask,
        queries: Sequence[str],
        rng: np.random.Generator,
        *,
        copies: int,
        encoder: Encoder,  # noqa: ARG002 - the attack knows nothing of it
    ) -> list[Document]:
        """Each copy has a text of its own; see `RetrievalAttack.poison`."""
        carriers = open_carriers(self.texts, task)
        return plant(
            self.name,
            task,
            queries,
            rng,
            copies,
            lambda target, n: [led_by(target.text, text) for text in carriers(target, n)],
        )
