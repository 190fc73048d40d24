"""Spans of a text in the encoder's own tokens, and the text without them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from mithridate.core.errors import ConfigError
from mithridate.retrieval.base import Encoder

Form: TypeAlias = Literal["delete", "mask"]
Span: TypeAlias = tuple[int, int]
"""Where a span begins and ends, as character offsets."""

MOST_CHARACTERS = 4_000_000
"""How much text the masked copies of one document come to: 256 of them up to 15,625 characters."""
FEWEST_SPANS = 4
"""How many spans any document keeps, however long: with fewer, every span would carry the match."""


@dataclass(frozen=True, slots=True)
class Masking:
    """How a text is cut into spans, one of which at a time is masked.

    A span is `span_tokens` long, a new one begins every `stride` tokens (by default each where the last one
    ended), and the last may be shorter. A text that would have more than `most_spans` is cut into longer
    ones: the whole of it stays covered, and what it costs stays bounded. So is one whose copies, one a span,
    would together be longer than `MOST_CHARACTERS`, of those that the encoder reads; but never into fewer
    than `FEWEST_SPANS` for this. `form` says whether a span is deleted, or each of its tokens replaced by the
    encoder's mask token.

    Raises ConfigError where spans would leave gaps, or a number is not positive.
    """

    span_tokens: int = 8
    stride: int | None = None
    form: Form = "delete"
    most_spans: int = 256

    def __post_init__(self) -> None:
        if self.span_tokens < 1 or self.most_spans < 1:
            raise ConfigError(
                f"span_tokens is {self.span_tokens} and most_spans {self.most_spans}; both must be at least 1"
            )
        if self.stride is not None and not 1 <= self.stride <= self.span_tokens:
            raise ConfigError(
                f"stride is {self.stride}, but must lie between 1 and span_tokens ({self.span_tokens}): "
                "text between two spans would never be masked"
            )
        if self.form not in ("delete", "mask"):
            raise ConfigError(f"form is {self.form!r}; expected 'delete' or 'mask'")

    @property
    def key(self) -> str:
        """What tells the vectors of two maskings apart."""
        step = self.stride or self.span_tokens
        return f"{self.span_tokens},{step},{self.form},{self.most_spans},{MOST_CHARACTERS}"

    def token_ranges(self, tokens: int, characters: int = 0) -> list[tuple[int, int]]:
        """Which of so many tokens each span takes, as half-open ranges that together take all.

        `characters` is how long the text is that they stand in.
        """
        length, step = self.span_tokens, self.stride or self.span_tokens
        most = min(self.most_spans, max(FEWEST_SPANS, MOST_CHARACTERS // max(1, characters)))
        if tokens > length + step * (most - 1):
            step = -(-tokens // most)
            length = max(length, step)
        ranges: list[tuple[int, int]] = []
        for first in range(0, tokens, step):
            ranges.append((first, min(first + length, tokens)))
            if first + length >= tokens:
                break
        return ranges

    def masked_texts(self, text: str, encoder: Encoder) -> Iterator[tuple[Span, str]]:
        """Each span of `text` with the text in which it is masked.

        Raises ConfigError if tokens are to be replaced and the encoder has no mask token.
        """
        mask = self._mask(encoder)
        tokens = encoder.token_spans(text)
        read = tokens[-1][1] if tokens else 0
        for first, last in self.token_ranges(len(tokens), read):
            span = (tokens[first][0], tokens[last - 1][1])
            yield span, without(text, [span], " ".join([mask] * (last - first)) if mask else "")

    def _mask(self, encoder: Encoder) -> str:
        if self.form == "delete":
            return ""
        if not encoder.mask_text:
            raise ConfigError(f"encoder {encoder.identity!r} has no mask token; use form='delete'")
        return encoder.mask_text


def without(text: str, spans: Sequence[Span], instead: str = "") -> str:
    """`text` with `instead` in the place of each of `spans`, which may overlap.

    Where nothing is put between two words that the spans had kept apart, a space is.
    """
    gaps = _merged(spans)
    kept = [text[end:start] for (_, end), (start, _) in pairwise([(0, 0), *gaps, (len(text), 0)])]
    left = kept[0]
    for piece in kept[1:]:
        touching = not instead and left[-1:].strip() and piece[:1].strip()
        left += (" " if touching else instead) + piece
    return left


def _merged(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
