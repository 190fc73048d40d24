"""PoisonedRAG's texts: each states a wrong answer to the question that it was written for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mithridate.core.types import Document
from mithridate.retrieval.attacks.base import Target, led_by, plant
from mithridate.retrieval.attacks.carriers import written_texts
from mithridate.retrieval.base import Encoder
from mithridate.retrieval.task import RetrievalTask


@dataclass(frozen=True, slots=True)
class PoisonedRAG:
    """The query before a text that answers it wrongly: the black-box form of arXiv 2402.07867.

    Texts are the task's own wrong contexts (`adv_texts` in PoisonedRAG's files), or those of the questions in
    `file`; without `with_query` they are planted as they are. The first ones are taken, as in the paper.
    """

    name: ClassVar[str] = "poisonedrag"

    file: str = ""
    with_query: bool = True

    def poison(
        self,
        task: RetrievalTask,
        queries: Sequence[str],
        rng: np.random.Generator,
        *,
        copies: int,
        encoder: Encoder,  # noqa: ARG002 - the black-box form knows nothing of it
    ) -> list[Document]:
        """A query without such a text gets none; see `RetrievalAttack.poison`."""
        texts = written_texts(self.file, task) if self.file else task.wrong_contexts

        def write(target: Target, n: int) -> list[str]:
            found = texts.get(target.id, ())[:n]
            return [led_by(target.text, text) for text in found] if self.with_query else list(found)

        return plant(self.name, task, queries, rng, copies, write)
