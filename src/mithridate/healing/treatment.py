"""What is done to a model to heal it: an intervention, other weights in its place, or several of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from mithridate.models.language_model import LanguageModel


class Treatment(Protocol):
    """Something that can be done to a model and undone: every intervention is one."""

    def on(self, model: LanguageModel) -> AbstractContextManager[LanguageModel]:
        """`model` treated, for as long as the block lasts; to be asked in the place of `model`."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """The model as it is."""

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """`model`."""
        yield model


@dataclass(frozen=True, slots=True, eq=False)
class OtherWeights:
    """Another model in the place of the one that was to be healed: it trained on, or was trained anew."""

    model: LanguageModel

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:  # noqa: ARG002 - it takes its place
        """The other model."""
        yield self.model

    def fold(self, model: LanguageModel) -> LanguageModel:  # noqa: ARG002 - it takes its place
        """The other model."""
        return self.model


@dataclass(frozen=True, slots=True)
class Together:
    """Several treatments, each on top of those before it."""

    parts: Sequence[Treatment]

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        """`model` with all of them."""
        with ExitStack() as stack:
            for part in self.parts:
                model = stack.enter_context(part.on(model))
            yield model
