"""Queries on their way in: checked once, encoded together."""

from __future__ import annotations

from collections.abc import Sequence

from mithridate.core.errors import QueryError
from mithridate.retrieval.base import Encoder, Query, TextRole
from mithridate.retrieval.telemetry import encoding


def check_query(text: str, top_k: int, number: int | None = None) -> None:
    """Raise QueryError for an empty query, the `number`-th of several, or a `top_k` below 1."""
    if top_k < 1:
        raise QueryError(f"top_k is {top_k}, but must be at least 1")
    if not text.strip():
        raise QueryError("the query is empty" + ("" if number is None else f" (number {number})"))


def ask(encoder: Encoder, texts: Sequence[str], top_k: int) -> list[Query]:
    """`texts` as queries for `top_k` hits, encoded together; raises QueryError as `check_query` does."""
    for number, text in enumerate(texts):
        check_query(text, top_k, number if len(texts) > 1 else None)
    with encoding(encoder.identity, texts):
        asked = encoder.encode(texts, role=TextRole.QUERY)
    return [Query(*one) for one in zip(texts, asked, strict=True)]
