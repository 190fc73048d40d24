"""Anything with `encode(list[str]) -> array`, made an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mithridate.core.errors import EncoderError
from mithridate.retrieval.base import Encoder, TextRole, Vectors
from mithridate.retrieval.encoders.texts import readable, word_spans
from mithridate.retrieval.encoders.vectors import unit_rows

_FIRST_TEXT = "How many numbers has a vector?"


@runtime_checkable
class Encodes(Protocol):
    """The least that an encoder can be."""

    def encode(self, texts: list[str], /) -> Any:
        """One row of numbers a text."""


def as_encoder(source: Encoder | Encodes, *, name: str | None = None, batch_size: int = 64) -> Encoder:
    """`source` as an encoder of unit vectors; one that is an encoder already comes back as it is.

    A `SentenceTransformer` becomes a `SentenceTransformerEncoder`. Anything else is asked for the vector of
    one short text, to learn its dimension. `name` becomes its identity: give one where two encoders of the
    same class are in use. Spans are words, and there is no mask token.

    Raises EncoderError if it has no `encode`, or returns what are no vectors.
    """
    if isinstance(source, Encoder):
        return source
    if type(source).__module__.partition(".")[0] == "sentence_transformers":
        # Late: the module is small, but what it wraps is not, and only this case needs it.
        from mithridate.retrieval.encoders.sentence_transformer import (  # noqa: PLC0415 - see above
            SentenceTransformerEncoder,
        )

        return SentenceTransformerEncoder(source, batch_size=batch_size)
    if not isinstance(source, Encodes):
        raise EncoderError(
            f"{type(source).__name__!r} is no encoder: expected an object with encode(list[str]) -> array"
        )
    kind = type(source)
    return _PlainEncoder(source, name or f"{kind.__module__}.{kind.__qualname__}", batch_size)


class _PlainEncoder:
    """Checks, normalises and batches what another encoder returns."""

    def __init__(self, source: Encodes, name: str, batch_size: int) -> None:
        if batch_size < 1:
            raise EncoderError(f"batch_size is {batch_size}, but must be at least 1")
        self._source, self._name, self._batch_size = source, name, batch_size
        self.dimension = unit_rows(source.encode([_FIRST_TEXT]), [_FIRST_TEXT], name).shape[1]
        self.identity = f"{name}:{self.dimension}"

    def encode(self, texts: Sequence[str], *, role: TextRole = TextRole.DOCUMENT) -> Vectors:  # noqa: ARG002
        """One unit row a text; both roles are encoded alike."""
        rows = np.zeros((len(texts), self.dimension), np.float32)
        for start in range(0, len(texts), self._batch_size):
            batch = [readable(text) for text in texts[start : start + self._batch_size]]
            rows[start : start + len(batch)] = unit_rows(
                self._source.encode(batch), batch, self._name, self.dimension
            )
        return rows

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The words of the text."""
        return word_spans(text)

    @property
    def mask_text(self) -> str | None:
        """None: nothing is known of its tokens."""
        return None
