"""Against consensus: copies that are worded so differently that no two of them look like copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from mithridate.core.errors import ConfigError
from mithridate.core.types import Document
from mithridate.retrieval.attacks.base import MOST_COPIES, Target, plant
from mithridate.retrieval.attacks.carriers import CORPUS, open_carriers
from mithridate.retrieval.base import Encoder, TextRole, Vectors
from mithridate.retrieval.ranking import similarities
from mithridate.retrieval.task import RetrievalTask

FORMS: Final = (
    "{query}. {text}",
    "{text} {query}.",
    "{before} {query}. {after}",
    "Many people ask: {query}. {text}",
    "{text} This is what is known about the question: {query}.",
    "Notes on {query}. {text}",
)
_CARRIERS: Final = 2 * MOST_COPIES
_MARGIN: Final = 1e-4
"""Consensus calls similar what reaches its threshold up to rounding; vectors are in single precision."""


@dataclass(frozen=True, slots=True)
class Paraphrased:
    """Copies of which any two have a cosine below `similarity` to this encoder, `Consensus`'s own by default.

    There is no language model in it. A copy is the best of `candidates` random mixtures of a sentence form,
    an order of the query's words (as they are, halves swapped, shuffled) and a text: the one nearest to the
    query, of those that are far enough from all copies before. Where none is, that copy is not planted. With
    texts from the corpus, most of the difference comes from the texts. `texts` as in `QueryAsPoison`.

    Raises ConfigError for a cosine outside -1 to 1, or no candidate.
    """

    name: ClassVar[str] = "paraphrased"

    similarity: float = 0.90
    candidates: int = 12
    texts: str = CORPUS

    def __post_init__(self) -> None:
        if not -1 <= self.similarity <= 1:
            raise ConfigError(f"similarity is {self.similarity}, but a cosine lies between -1 and 1")
        if self.candidates < 1:
            raise ConfigError(f"candidates is {self.candidates}, but must be at least 1")

    def poison(
        self,
        task: RetrievalTask,
        queries: Sequence[str],
        rng: np.random.Generator,
        *,
        copies: int,
        encoder: Encoder,
    ) -> list[Document]:
        """A query gets fewer copies where no more can be kept apart; see `RetrievalAttack.poison`."""
        carriers = open_carriers(self.texts, task)

        def write(target: Target, n: int) -> list[str]:
            # As many for one copy as for ten: so the first copies are the same.
            texts = carriers(target, _CARRIERS)
            return list(self._apart(target, texts, n, encoder)) if texts else []

        return plant(self.name, task, queries, rng, copies, write)

    def _apart(self, target: Target, texts: Sequence[str], copies: int, encoder: Encoder) -> Iterator[str]:
        (asked,) = encoder.encode([target.text], role=TextRole.QUERY)
        kept: list[Vectors] = []
        for _ in range(copies):
            drafts = [_draft(target, texts) for _ in range(self.candidates)]
            vectors = encoder.encode(drafts)
            nearest = np.full(len(drafts), -np.inf)
            for row in kept:
                nearest = np.maximum(nearest, similarities(vectors, row))
            score = np.where(nearest < self.similarity - _MARGIN, similarities(vectors, asked), -np.inf)
            best = int(np.argmax(score))
            if score[best] > -np.inf:
                kept.append(vectors[best])
                yield drafts[best]


def _draft(target: Target, texts: Sequence[str]) -> str:
    """A form, an order of words and a text, each drawn anew."""
    rng = target.rng
    text, form = texts[int(rng.integers(len(texts)))], FORMS[int(rng.integers(len(FORMS)))]
    words = text.split()
    half = len(words) // 2
    return form.format(
        query=_reordered(target.text, rng),
        text=text,
        before=" ".join(words[:half]),
        after=" ".join(words[half:]),
    ).strip()


def _reordered(query: str, rng: np.random.Generator) -> str:
    words = query.split()
    match rng.integers(3):
        case 0:
            return query
        case 1:
            half = len(words) // 2
            return " ".join([*words[half:], *words[:half]])
        case _:
            return " ".join(words[i] for i in rng.permutation(len(words)))
