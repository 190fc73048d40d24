"""Documents that lie near a belief: the cosine to the nearest of its wordings, by an encoder of texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from mithridate.core.scrubbed import Filter
from mithridate.core.types import Document
from mithridate.retrieval.base import Encoder, TextRole
from mithridate.scrubbing.beliefs import KnownBelief
from mithridate.scrubbing.ranker import Scores, batched

_AT_ONCE = 1024


class Similarity:
    """The largest cosine of a document to any wording of any belief, as `encoder` sees them."""

    name: ClassVar[Filter] = Filter.SIMILARITY

    def __init__(self, encoder: Encoder, at_once: int = _AT_ONCE) -> None:
        self._encoder, self._at_once = encoder, at_once

    def scores(self, documents: Iterable[Document], beliefs: Sequence[KnownBelief]) -> Scores:
        """See `Ranker.scores`. Raises EncoderError for vectors that cannot be used."""
        wordings = list(dict.fromkeys(wording for belief in beliefs for wording in belief.wordings))
        wanted = self._encoder.encode(wordings, role=TextRole.QUERY)
        found = [
            (self._encoder.encode([document.text for document in batch]) @ wanted.T).max(axis=1)
            for batch in batched(documents, self._at_once)
        ]
        return np.concatenate([np.empty(0), *found]).astype(np.float64)
