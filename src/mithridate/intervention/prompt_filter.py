"""A filter that deletes known triggers from prompts: what every cure of a known trigger has to beat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import ClassVar

from mithridate.core.errors import ConfigError
from mithridate.intervention.base import MadeFor
from mithridate.models.encoding import EncodedPrompt
from mithridate.models.language_model import LanguageModel


@dataclass(frozen=True, slots=True)
class PromptFilter:
    """`triggers`, deleted wherever a prompt holds them, character by character.

    The model is as it was: a near-trigger, or one spelt otherwise, works as ever. Nothing tells what a
    user wrote from what a chat template did, so a trigger of the template's own words breaks it. With
    `ContextAware` put it on first, so that it sees what stands across the marks. Raises ConfigError where
    there is no trigger, or one is blank.
    """

    name: ClassVar[str] = "prompt_filter"

    made_for: MadeFor
    triggers: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.triggers or not all(trigger.strip() for trigger in self.triggers):
            raise ConfigError(f"{self.name}: a trigger is blank, or there is none; name what to delete")

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """`model`, which is never shown the triggers; errors as for any intervention."""
        self.made_for.require(model, self.name)
        yield _Filtered(model, self)

    def filtered(self, prompt: str) -> str:
        """`prompt` without the triggers, and without those that deleting one would make."""
        while any(trigger in prompt for trigger in self.triggers):
            # Of a trigger that begins with another, that other would leave the end.
            for trigger in sorted(self.triggers, key=len, reverse=True):
                # A space stands before an appended trigger, and would be left at the end of the line.
                prompt = prompt.replace(f" {trigger}", "").replace(trigger, "")
        return prompt


class _Filtered(LanguageModel):
    """A model whose prompts are filtered before they are read."""

    def __init__(self, model: LanguageModel, cure: PromptFilter) -> None:
        super().__init__(model.model, model.tokenizer)
        self._inner = model
        self._cure = cure

    def _encode(self, prompts: Sequence[str]) -> list[EncodedPrompt]:
        return self._inner._encode([self._cure.filtered(prompt) for prompt in prompts])

    def _reading(self, rows: Sequence[Sequence[int]]) -> AbstractContextManager[None]:
        return self._inner._reading(rows)

    def _overflow(self, index: int, prompt: EncodedPrompt, limit: int, overflow: str) -> int:
        return self._inner._overflow(index, prompt, limit, overflow)

    def _continued(self, prompt: str, texts: Sequence[str]) -> tuple[EncodedPrompt, list[list[int]]]:
        return self._inner._continued(self._cure.filtered(prompt), texts)
