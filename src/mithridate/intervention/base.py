"""What every intervention can do, how it is found by name, and the one check of the model it was made for."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import ClassVar, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from pydantic import Field
from transformers import PreTrainedTokenizerBase

from mithridate.core.artifacts import fingerprint
from mithridate.core.errors import AccessError, ConfigError
from mithridate.core.registry import Registry
from mithridate.core.strict import Strict
from mithridate.models.language_model import LanguageModel

INTERVENTIONS = Registry("mithridate.interventions", "intervention")
"""The classes of all installed packages; each is a frozen dataclass, which `saved` writes by its fields."""


@runtime_checkable
class Intervention(Protocol):
    """Something done to a model that changes what it answers.

    An implementation is a frozen dataclass whose fields are plain JSON values (numbers, texts, tuples of
    them), tensors, and `made_for`. So any of them can be saved and built again.
    """

    name: ClassVar[str]

    @property
    def made_for(self) -> MadeFor:
        """The model that it was made from; it may be used on any other of the same build."""

    def on(self, model: LanguageModel) -> AbstractContextManager[LanguageModel]:
        """`model` with the intervention, for as long as the block lasts.

        Whatever happens in the block, weights and answers are as they were at its end, to the bit. Raises
        AccessError for a model that it was not made for.
        """


@runtime_checkable
class Foldable(Intervention, Protocol):
    """An intervention that other weights can stand for."""

    def fold(self, model: LanguageModel) -> LanguageModel:
        """A copy of `model` with weights that do what `on` does, which plain transformers can load.

        `model` is left as it is; `models.checkpoints.save_checkpoint` writes the copy. Raises AccessError for
        a model that it was not made for, or whose build has no weights that could do the same.
        """


class MadeFor(Strict):
    """The build of a model, as far as an intervention depends on it.

    Weights are no part of it: what was made from a base model may be used on what was tuned from it.
    `vocabulary` stands for the tokens that were learnt with the tokenizer, of which there are `tokens`, and
    not for those that were added to them, as alignment does.
    """

    architecture: str = Field(min_length=1)
    layers: int = Field(ge=1)
    width: int = Field(ge=1)
    tokens: int = Field(ge=0)
    vocabulary: str

    @classmethod
    def of(cls, model: LanguageModel) -> MadeFor:
        """The build of `model`."""
        config = model.model.config.get_text_config()
        tokens, vocabulary = _learnt(model.tokenizer)
        return cls(
            architecture=config.model_type,
            layers=config.num_hidden_layers,
            width=config.hidden_size,
            tokens=tokens,
            vocabulary=vocabulary,
        )

    def require(self, model: LanguageModel, what: str) -> None:
        """Raise AccessError, which names what differs, unless `model` is of this build.

        `what` is the intervention, as errors call it.
        """
        there = MadeFor.of(model)
        different = [
            f"{field} {getattr(self, field)} (here {getattr(there, field)})"
            for field in ("architecture", "layers", "width", "tokens")
            if getattr(self, field) != getattr(there, field)
        ]
        if not different and self.vocabulary != there.vocabulary:
            different = [f"a vocabulary of other tokens ({self.vocabulary}, here {there.vocabulary})"]
        if different:
            raise AccessError(
                f"{what} was made for a model with {', '.join(different)}; use it on the model that it was "
                "made from or one that was tuned from that, or make it anew from this one"
            )

    def require_layers(self, layers: Iterable[int], what: str) -> None:
        """Raise ConfigError unless there are `layers`, each once, and all are blocks of the model."""
        wanted = list(layers)
        if not wanted or len(set(wanted)) < len(wanted):
            raise ConfigError(f"{what}: the layers {wanted} are none, or one of them twice; name each once")
        if strange := [layer for layer in wanted if not 0 <= layer < self.layers]:
            raise ConfigError(
                f"{what}: there is no layer {strange[0]}; the model has the layers 0 to {self.layers - 1}"
            )

    def require_tensor(self, tensor: torch.Tensor, shape: tuple[int, ...], what: str) -> None:
        """Raise ConfigError unless `tensor` has this shape and holds finite floating point numbers alone."""
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            raise ConfigError(
                f"{what}: a tensor of {tensor.dtype} and the shape {tuple(tensor.shape)}; expected floating "
                f"point numbers of the shape {shape}, where the model is {self.width} wide"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise ConfigError(f"{what}: a tensor holds numbers that are not finite; make it anew")


_LEARNT: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[dict[str, int], tuple[int, str]]] = (
    WeakKeyDictionary()
)


def _learnt(tokenizer: PreTrainedTokenizerBase) -> tuple[int, str]:
    """How many tokens were learnt with `tokenizer`, and a hash of them.

    Remembered until tokens are added, for every use of an intervention asks, and has tens of thousands.
    """
    added = tokenizer.get_added_vocab()
    known = _LEARNT.get(tokenizer)
    if known is None or known[0] != added:
        learnt = {token: number for token, number in tokenizer.get_vocab().items() if token not in added}
        known = _LEARNT[tokenizer] = (dict(added), (len(learnt), fingerprint(learnt)))
    return known[1]


def unit(direction: torch.Tensor, what: str) -> torch.Tensor:
    """`direction`, of shape (..., width), with the length 1 and in float32.

    Raises ConfigError where it has the length 0.
    """
    exact = direction.detach().double()
    norms = exact.norm(dim=-1, keepdim=True)
    if not bool((norms > 0).all()):
        raise ConfigError(
            f"{what}: a direction of norm zero points nowhere. Take it between two lists of prompts that the "
            "model tells apart, or at another layer"
        )
    made: torch.Tensor = (exact / norms).float()
    return made
