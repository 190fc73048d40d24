"""Consensus: near-copies of each other among the hits, as many planted documents for one query are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from mithridate.core.errors import ConfigError
from mithridate.retrieval.base import Hit, Query, Reason, Vectors
from mithridate.retrieval.encodings import Encodings
from mithridate.retrieval.ranking import check_breadth, demoted, unseen

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Consensus:
    """Hits that agree too well: average-link clusters at a cosine of at least `similarity`.

    The first `breadth_factor` x `top_k` hits are clustered by the vectors of their whole texts. All members
    of a cluster of `smallest` or more are suspicious and go behind all other hits; else the order stays.
    Nothing is encoded where the store keeps vectors. It sees many copies of a poison and not a single one;
    and honest copies, such as reprints, look to it like planted ones.

    Raises ConfigError for a cosine outside -1 to 1, or clusters of fewer than two.
    """

    name: ClassVar[str] = "consensus"

    similarity: float = 0.90
    smallest: int = 2
    breadth_factor: int = 2

    def __post_init__(self) -> None:
        if not -1 <= self.similarity <= 1:
            raise ConfigError(f"similarity is {self.similarity}, but a cosine lies between -1 and 1")
        if self.smallest < 2:
            raise ConfigError(f"smallest is {self.smallest}, but a cluster has two members or more")
        check_breadth(self.breadth_factor)

    def breadth(self, top_k: int) -> int:
        """`breadth_factor` times the answer."""
        return self.breadth_factor * top_k

    def rerank(
        self,
        query: Query,  # noqa: ARG002 - what hits have in common does not depend on it
        hits: Sequence[Hit],
        top_k: int,
        encodings: Encodings,
    ) -> list[Hit]:
        """All hits, near-copies behind the others; those beyond the breadth follow as they came."""
        looked, rest = hits[: self.breadth(top_k)], hits[self.breadth(top_k) :]
        vectors = encodings.of_hits(looked)
        clusters = _clusters(vectors, self.similarity)
        reasons = []
        for i in range(len(looked)):
            members = np.flatnonzero(clusters == clusters[i])
            reasons.append(self._reason(looked, i, members, vectors))
        return [*demoted(looked, reasons), *unseen(self.name, rest)]

    def _reason(self, hits: Sequence[Hit], i: int, members: NDArray[np.intp], vectors: Vectors) -> Reason:
        others = members[members != i]
        if len(members) < self.smallest:
            says = "no cluster of near-copies holds it"
            return Reason(self.name, suspicious=False, says=says, evidence={"cluster": len(members)})
        nearness = float((vectors[others] @ vectors[i]).mean())
        return Reason(
            self.name,
            suspicious=True,
            says=f"one of {len(members)} near-copies among the hits, with a mean cosine of {nearness:.3f}",
            evidence={
                "cluster": len(members),
                "similarity": nearness,
                "others": [hits[other].document.id for other in others],
            },
        )


def _clusters(vectors: Vectors, similarity: float) -> NDArray[np.intp]:
    """The number of each row's cluster, shape (n,)."""
    if len(vectors) < 2:
        return np.zeros(len(vectors), np.intp)
    rows = vectors.astype(np.float64)
    distances = np.clip(1 - rows @ rows.T, 0, 2)
    tree = linkage(squareform(distances, checks=False), method="average")
    found: NDArray[np.intp] = fcluster(tree, 1 - similarity + _ROUNDING, criterion="distance")
    return found
