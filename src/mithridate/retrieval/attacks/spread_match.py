"""Against RAGMask: the words of the query lie so far apart that no span holds two of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import ClassVar

import numpy as np

from mithridate.core.errors import ConfigError
from mithridate.core.types import Document
from mithridate.retrieval.attacks.base import Target, plant
from mithridate.retrieval.attacks.carriers import CORPUS, open_carriers
from mithridate.retrieval.base import Encoder, TextRole
from mithridate.retrieval.ranking import similarities
from mithridate.retrieval.task import RetrievalTask

_WORD = re.compile(r"\w[\w'’-]*")
_NEAR_ENOUGH = 0.5
"""Words of the query that are less than half as near to it as its nearest word are not worth their place."""


@dataclass(frozen=True, slots=True)
class SpreadMatch:
    """A text with a word of the query after every `span_tokens` - 1 of the encoder's tokens or more.

    Of the query's words those are taken that the encoder finds nearest to it, the nearest first, and again
    from the first until the text ends. Of the text, the first `carrier_words` are taken: in a long one, they
    would be too thin. A masked span of `span_tokens` takes out one planted word at most; tokens are counted
    word by word, as the encoder's `token_spans` has them. `texts` as in `QueryAsPoison`.

    Raises ConfigError for numbers that are not positive.
    """

    name: ClassVar[str] = "spread_match"

    span_tokens: int = 8
    carrier_words: int = 120
    texts: str = CORPUS

    def __post_init__(self) -> None:
        if self.span_tokens < 1 or self.carrier_words < 1:
            raise ConfigError(
                f"span_tokens is {self.span_tokens} and carrier_words {self.carrier_words}; both must be at "
                "least 1"
            )

    def poison(
        self,
        task: RetrievalTask,
        queries: Sequence[str],
        rng: np.random.Generator,
        *,
        copies: int,
        encoder: Encoder,
    ) -> list[Document]:
        """Each copy has a text of its own; see `RetrievalAttack.poison`."""
        carriers = open_carriers(self.texts, task)

        def write(target: Target, n: int) -> list[str]:
            words = telling_words(target.text, encoder)
            return [self._spread(text, words, encoder) for text in carriers(target, n)] if words else []

        return plant(self.name, task, queries, rng, copies, write)

    def _spread(self, text: str, words: Sequence[str], encoder: Encoder) -> str:
        carried = text.split()[: self.carrier_words]
        tokens = {word: len(encoder.token_spans(word)) for word in set(carried)}
        woven: list[str] = []
        planted, since = cycle(words), self.span_tokens
        for word in carried:
            if since >= self.span_tokens - 1:
                woven.append(next(planted))
                since = 0
            woven.append(word)
            since += tokens[word]
        return " ".join(woven)


def telling_words(query: str, encoder: Encoder) -> list[str]:
    """The words of a query that say most of it to the encoder, the nearest first; empty if it has none."""
    words = list(dict.fromkeys(_WORD.findall(query)))
    if not words:
        return []
    (asked,) = encoder.encode([query], role=TextRole.QUERY)
    near = similarities(encoder.encode(words), asked)
    least = min(near.max(), _NEAR_ENOUGH * near.max())
    return [words[i] for i in np.argsort(-near, kind="stable") if near[i] >= least]
