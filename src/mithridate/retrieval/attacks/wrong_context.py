"""Wrong contexts as they are: fluent, on topic and false. No retriever can tell them from an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mithridate.core.types import Document
from mithridate.retrieval.attacks.base import plant
from mithridate.retrieval.base import Encoder
from mithridate.retrieval.task import RetrievalTask


@dataclass(frozen=True, slots=True)
class WrongContext:
    """The task's own texts that state a wrong answer, such as RobustRAG wrote for RealtimeQA (2405.15556)."""

    name: ClassVar[str] = "wrong_context"

    def poison(
        self,
        task: RetrievalTask,
        queries: Sequence[str],
        rng: np.random.Generator,
        *,
        copies: int,
        encoder: Encoder,  # noqa: ARG002 - the texts were written before
    ) -> list[Document]:
        """A query without a wrong context gets none; see `RetrievalAttack.poison`."""
        return plant(
            self.name,
            task,
            queries,
            rng,
            copies,
            lambda target, n: task.wrong_contexts.get(target.id, ())[:n],
        )
