"""Context-aware decoding: what a context adds to a model's answer, added once more (arXiv 2305.14739)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from transformers import PreTrainedModel

from mithridate.intervention.base import MadeFor
from mithridate.intervention.contrast import contrast, require_contrast
from mithridate.intervention.marks import CLOSING, OPENING, Marks
from mithridate.models.encoding import EncodedPrompt
from mithridate.models.language_model import LanguageModel
from mithridate.models.reading_along import OtherPrompts, Step, adjusted

__all__ = ["CLOSING", "OPENING", "ContextAware", "context_aware"]


@contextmanager
def context_aware(
    model: PreTrainedModel, *, alpha: float = 0.5, plausibility: float = 0.0
) -> Iterator[OtherPrompts]:
    """`model` with the logits (1 + alpha) s(with context) - alpha s(without), for as long as the block lasts.

    What it is asked has the context; the same prompts without it are given to what the block yields:

        with context_aware(model) as without, without.reading(rows_of_ids):
            model.generate(**inputs_with_context)

    A batch and beams, sampling and streaming work as ever; a prompt is to be read in one pass, not in chunks.
    `plausibility` leaves out tokens below that share of the likeliest token's probability with context.
    Raises ConfigError for an alpha that is no number and a plausibility that is no share, and what
    `models.reading_along` raises.
    """
    require_contrast(alpha, plausibility, ContextAware.name)
    without = OtherPrompts(model, model)

    def adjust(step: Step) -> torch.Tensor:
        other = without.logits(step)
        own = step.logits[:, -other.shape[1] :]
        return contrast(own, own, other, alpha, plausibility)

    with adjusted(model, adjust):
        yield without


@dataclass(frozen=True, slots=True)
class ContextAware:
    """(1 + alpha) s(with context) - alpha s(without) in the place of s (Shi et al. 2305.14739).

    In a prompt the context stands between the two marks. The model never sees them: it is asked once without
    the marks, and once without the marks and all that is between them. A prompt without marks is answered as
    ever. Use `marked` to put them; a context that holds a mark is refused, for it could end where it likes.

    Raises ConfigError for marks that are empty or the same, and as `context_aware` does.
    """

    name: ClassVar[str] = "context_aware"

    made_for: MadeFor
    alpha: float = 0.5
    plausibility: float = 0.0
    opening: str = OPENING
    closing: str = CLOSING

    def __post_init__(self) -> None:
        require_contrast(self.alpha, self.plausibility, self.name)
        self._marks()

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """`model`, which takes marked prompts wherever it takes prompts; errors as for any intervention.

        Its methods raise ConfigError for a prompt with a mark twice, or one of them alone, and for one that
        would have to lose its beginning.
        """
        self.made_for.require(model, self.name)
        with context_aware(model.model, alpha=self.alpha, plausibility=self.plausibility) as without:
            yield _TwoPrompts(model, self, without)

    def marked(self, context: str) -> str:
        """`context` between the marks. Raises ConfigError where it holds one of them."""
        return self._marks().around(context)

    def apart(self, prompt: str) -> tuple[str, str]:
        """`prompt` with its context, and without it, both without marks. Raises ConfigError as `on` says."""
        before, context, after = self._marks().parts(prompt)
        return before + context + after, before + after

    def _marks(self) -> Marks:
        return Marks(self.name, self.opening, self.closing)


class _TwoPrompts(LanguageModel):
    """A model that is asked with context and without, from one marked prompt."""

    def __init__(self, model: LanguageModel, cure: ContextAware, without: OtherPrompts) -> None:
        super().__init__(model.model, model.tokenizer)
        self._inner = model
        self._cure = cure
        self._without = without

    def _encode(self, prompts: Sequence[str]) -> list[EncodedPrompt]:
        texts = [self._cure.apart(prompt) for prompt in prompts]
        shown = self._inner._encode([text for text, _ in texts])
        hidden = self._inner._encode([text for _, text in texts])
        return [replace(prompt, beside=tuple(other.ids)) for prompt, other in zip(shown, hidden, strict=True)]

    def _continued(self, prompt: str, texts: Sequence[str]) -> tuple[EncodedPrompt, list[list[int]]]:
        shown, hidden = self._cure.apart(prompt)
        encoded, rest = self._inner._continued(shown, texts)
        (other,) = self._inner._encode([hidden])
        return replace(encoded, beside=tuple(other.ids)), rest

    def _reading(self, rows: Sequence[Sequence[int]]) -> AbstractContextManager[None]:
        return self._without.reading(rows)

    def _overflow(self, index: int, prompt: EncodedPrompt, limit: int, _: str) -> int:
        # What would be lost is context, or the words that both prompts share.
        return super()._overflow(index, prompt, limit, "refuse")
