"""The perplexity filter: text that a language model finds unlikely, such as what token swaps leave behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, TypeAlias

from mithridate.core.errors import ConfigError
from mithridate.retrieval.base import Hit, Query, Reason
from mithridate.retrieval.encodings import Encodings
from mithridate.retrieval.ranking import check_breadth, demoted, unseen

Scorer: TypeAlias = Callable[[Sequence[str]], Sequence[float]]
"""The log-perplexity of each text: its mean negative log-likelihood in nats a token."""


@dataclass(frozen=True, slots=True)
class PerplexityFilter:
    """A control: hits whose log-perplexity is above `threshold` are suspicious and go behind the others.

    It sees gibberish, and is blind to fluent poison. The first `breadth_factor` x `top_k` hits are scored,
    either by `scorer`, or by the language model in the checkpoint folder `model`.

    Raises ConfigError unless exactly one of these two is given, and if a scorer does not return one finite
    number a text; CheckpointError if the folder cannot be used.
    """

    name: ClassVar[str] = "perplexity"

    threshold: float
    scorer: Scorer | None = None
    model: str = ""
    breadth_factor: int = 2

    def __post_init__(self) -> None:
        if math.isnan(self.threshold):
            raise ConfigError("threshold is not a number")
        if (self.scorer is None) == (not self.model):
            raise ConfigError("the perplexity filter needs either a scorer or the folder of a model")
        check_breadth(self.breadth_factor)

    def breadth(self, top_k: int) -> int:
        """`breadth_factor` times the answer."""
        return self.breadth_factor * top_k

    def rerank(
        self,
        query: Query,  # noqa: ARG002 - the text alone is judged
        hits: Sequence[Hit],
        top_k: int,
        encodings: Encodings,  # noqa: ARG002 - no vector is needed
    ) -> list[Hit]:
        """All hits, unlikely texts behind the others; those beyond the breadth follow as they came."""
        looked, rest = hits[: self.breadth(top_k)], hits[self.breadth(top_k) :]
        reasons = [self._reason(score) for score in self._scores([hit.document.text for hit in looked])]
        return [*demoted(looked, reasons), *unseen(self.name, rest)]

    def _scores(self, texts: Sequence[str]) -> list[float]:
        if not texts:
            return []
        score = self.scorer or model_scorer(self.model)
        found = [float(one) for one in score(texts)]
        if len(found) != len(texts) or not all(map(math.isfinite, found)):
            raise ConfigError(
                f"the scorer returned {len(found)} numbers for {len(texts)} texts, or one that is not "
                "finite; expected the log-perplexity of each text"
            )
        return found

    def _reason(self, score: float) -> Reason:
        suspicious = score > self.threshold
        return Reason(
            self.name,
            suspicious=suspicious,
            says=f"log-perplexity {score:.2f}, {'above' if suspicious else 'not above'} {self.threshold:g}",
            evidence={"log_perplexity": score, "threshold": self.threshold},
        )


@lru_cache(maxsize=1)
def model_scorer(folder: str) -> Scorer:
    """A scorer over the language model in a checkpoint folder; texts longer than its window are cut there.

    A blank text has the log-perplexity 0. Raises CheckpointError if the folder cannot be used.
    """
    from mithridate.models.language_model import LanguageModel  # noqa: PLC0415 - loads torch

    model = LanguageModel.load(folder)

    def score(texts: Sequence[str]) -> list[float]:
        return [-found.mean for found in model.log_likelihood([""] * len(texts), texts)]

    return score
