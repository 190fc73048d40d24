"""HotFlip: words that a gradient picks bring a text near a query, in front of it or spread all over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import ClassVar, Literal

import numpy as np

from mithridate.core.errors import ConfigError
from mithridate.core.types import Document
from mithridate.retrieval.attacks.base import Target, plant
from mithridate.retrieval.attacks.carriers import CORPUS, open_carriers
from mithridate.retrieval.attacks.drafts import Draft, leading, spread
from mithridate.retrieval.attacks.gradients import Gradients
from mithridate.retrieval.base import Encoder, Vectors
from mithridate.retrieval.encoders.texts import readable
from mithridate.retrieval.task import RetrievalTask

_AT_ONCE = 4
"""Swaps that are good by themselves are also tried together, up to so many."""


@dataclass(frozen=True, slots=True)
class HotFlip:
    """Free words before a text, swapped for those that raise its cosine with the query most.

    Each of `iterations` takes the gradient once, in a random half of the places, encodes the `candidates`
    swaps that promise most, and keeps the best of them or of the best ones together, if that is an
    improvement: HotFlip (Ebrahimi et al., ACL 2018), as Zhong et al. (EMNLP 2023) poison corpora with it.
    Words are whole tokens of the encoder, so that what is planted is read as what was tried.

    `words` are free; they start as random ones, or as the "query"'s own over and over, as in PoisonedRAG's
    white-box form. Of a text the first `carrier_words` are planted. `texts` as in `QueryAsPoison`. A copy
    takes about ten seconds of one core with all-MiniLM-L6-v2.

    Raises ConfigError for numbers that are not positive.
    """

    name: ClassVar[str] = "hotflip"

    words: int = 24
    iterations: int = 12
    candidates: int = 16
    start: Literal["random", "query"] = "random"
    carrier_words: int = 60
    texts: str = CORPUS

    def __post_init__(self) -> None:
        for option in ("words", "iterations", "candidates", "carrier_words"):
            if getattr(self, option) < 1:
                raise ConfigError(f"{option} is {getattr(self, option)}, but must be at least 1")
        if self.start not in ("random", "query"):
            raise ConfigError(f"start is {self.start!r}; expected 'random' or 'query'")

    def poison(
        self,
        task: RetrievalTask,
        queries: Sequence[str],
        rng: np.random.Generator,
        *,
        copies: int,
        encoder: Encoder,
    ) -> list[Document]:
        """Each copy has a text of its own; ConfigError for an encoder without gradients.

        See `RetrievalAttack.poison`.
        """
        carriers = open_carriers(self.texts, task)
        gradients = Gradients(encoder, self.name)

        def write(target: Target, n: int) -> list[str]:
            asked = gradients.query(target.text)
            rngs = target.rng.spawn(n)
            return [
                self._improved(self._draft(target, text, own, gradients), asked, own, gradients).text
                for text, own in zip(carriers(target, n), rngs, strict=False)
            ]

        return plant(self.name, task, queries, rng, copies, write)

    def _draft(self, target: Target, text: str, rng: np.random.Generator, gradients: Gradients) -> Draft:
        own = target.text.split() if self.start == "query" else []
        free = list(islice(cycle(own), self.words)) if own else gradients.random_words(rng, self.words)
        return self._laid_out([readable(word) for word in free], readable(text).split()[: self.carrier_words])

    def _laid_out(self, free: Sequence[str], text: Sequence[str]) -> Draft:
        return leading(free, text)

    def _improved(
        self, draft: Draft, asked: Vectors, rng: np.random.Generator, gradients: Gradients
    ) -> Draft:
        (score,) = gradients.similarities([draft], asked)
        for _ in range(self.iterations):
            places = rng.permutation(self.words)[: max(1, self.words // 2)].tolist()
            swaps = gradients.swaps(draft, places, asked, self.candidates)
            if not swaps:
                break
            alone = gradients.similarities([draft.swapped([swap]) for swap in swaps], asked)
            # The best swap of each place, of those that raise the similarity, best first.
            good = dict[int, str]()
            for i in np.argsort(-alone, kind="stable"):
                if alone[i] > score:
                    good.setdefault(*swaps[i])
            chosen = list(good.items())[:_AT_ONCE]
            if not chosen:
                continue
            together = [draft.swapped(chosen[:count]) for count in range(1, len(chosen) + 1)]
            scores = gradients.similarities(together, asked)
            draft, score = together[int(scores.argmax())], scores.max()
        return draft


@dataclass(frozen=True, slots=True)
class SpreadHotFlip(HotFlip):
    """HotFlip with its free words spread evenly over the text: no fragment and no span carries them all."""

    name: ClassVar[str] = "spread_hotflip"

    def _laid_out(self, free: Sequence[str], text: Sequence[str]) -> Draft:
        return spread(free, text)
