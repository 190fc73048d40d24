"""What a retriever brings up in each mode: observing, the plain search decides, and it only speaks."""

from __future__ import annotations

from dataclasses import replace

from mithridate.core.errors import ConfigError
from mithridate.retrieval.base import Mode, Ranked, Retriever, StoredVectors, Vectors
from mithridate.retrieval.controls import Plain


def bring_up(
    retriever: Retriever, vectors: StoredVectors, query: Vectors, top: int, mode: Mode
) -> list[Ranked]:
    """At most `top` rows of the index for a query vector of shape (dimension,), best first.

    In `Mode.OBSERVE` they are those of `Plain`, with the retriever's reasons; else the retriever's own.
    Raises ConfigError if the plain search is needed, and the index holds no vectors of whole documents.
    """
    if mode is not Mode.OBSERVE:
        return retriever.retrieve(vectors, query, top)
    if not vectors.whole.shape[1]:
        raise ConfigError(
            "mode 'observe' leaves the plain search as it is, but this index holds no vectors of whole "
            "documents; build it with mode='observe'"
        )
    plain = Plain().retrieve(vectors, query, top)
    reasons = retriever.reasons(vectors, query, [ranked.row for ranked in plain], top)
    return [replace(ranked, reason=reason) for ranked, reason in zip(plain, reasons, strict=True)]
