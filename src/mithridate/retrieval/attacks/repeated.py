"""Against RAGPart: the query stands in every fragment, so that every combination holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mithridate.core.errors import ConfigError
from mithridate.core.types import Document
from mithridate.retrieval.attacks.base import led_by, plant
from mithridate.retrieval.attacks.carriers import CORPUS, open_carriers
from mithridate.retrieval.base import Encoder
from mithridate.retrieval.fragments import fragments
from mithridate.retrieval.task import RetrievalTask

_MOST_FRAGMENTS = 100


@dataclass(frozen=True, slots=True)
class Repeated:
    """A text cut as RAGPart cuts it, with the query before each of its `fragments`.

    The poison that comes of it falls into the same pieces again, each with the whole query; but it is easily
    seen by what it repeats. `texts` as in `QueryAsPoison`. Raises ConfigError for fewer than one fragment, or
    more than a hundred.
    """

    name: ClassVar[str] = "repeated"

    fragments: int = 5
    texts: str = CORPUS

    def __post_init__(self) -> None:
        if not 1 <= self.fragments <= _MOST_FRAGMENTS:
            raise ConfigError(f"fragments is {self.fragments}, but must lie between 1 and {_MOST_FRAGMENTS}")

    def poison(
        self,
        task: RetrievalTask,
        queries: Sequence[str],
        rng: np.random.Generator,
        *,
        copies: int,
        encoder: Encoder,  # noqa: ARG002 - the attack knows how documents are cut, and nothing of the encoder
    ) -> list[Document]:
        """Each copy has a text of its own; see `RetrievalAttack.poison`."""
        carriers = open_carriers(self.texts, task)
        return plant(
            self.name,
            task,
            queries,
            rng,
            copies,
            lambda target, n: [self._repeated(target.text, text) for text in carriers(target, n)],
        )

    def _repeated(self, query: str, text: str) -> str:
        return " ".join(led_by(query, piece) for piece in fragments(text, self.fragments))
