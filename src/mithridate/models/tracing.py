"""One short pass through a model that notes what its modules are given and what they make of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.utils.generic import ModelOutput

from mithridate.core.errors import AccessError

# Several tokens, because the embedding of the first is nothing but zeros where it is the padding.
_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """A tensor as it was when it was seen; the model may have changed it in place afterwards."""

    copy: torch.Tensor
    _alive: torch.Tensor
    _version: int

    @classmethod
    def now(cls, tensor: torch.Tensor) -> Seen:
        """`tensor` as it is at this moment."""
        return cls(tensor.clone(), tensor, tensor._version)

    @property
    def overwritten(self) -> bool:
        """Whether it was changed in place since."""
        return self._alive._version != self._version


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module: the first tensor it was given, the first it made, the type of all it returned."""

    given: Seen | None
    made: Seen | None
    kind: type


def first_tensor(made: Any) -> torch.Tensor | None:
    """The tensor that a module returned, or the first of several; None where that is no tensor."""
    if isinstance(made, tuple | list | ModelOutput):
        made = made[0] if len(made) else None
    return made if isinstance(made, torch.Tensor) else None


def trace(model: nn.Module, modules: Iterable[nn.Module], vocabulary: int) -> dict[nn.Module, list[Call]]:
    """Put the first few token ids through `model`, and return the calls of each of `modules` that ran.

    The mode of the model, its weights, and torch's randomness are left as they were. Raises AccessError if
    the model cannot be run.
    """
    device = next(model.parameters()).device
    calls: dict[nn.Module, list[Call]] = {}
    # Not in inference mode, which keeps no versions, and whose tensors a model must not keep.
    with torch.inference_mode(False), torch.no_grad(), _without_dropout(model), ExitStack() as stack:
        for module in set(modules):
            _note(module, calls, stack)
        ids = torch.arange(min(_TOKENS, vocabulary), device=device)[None]
        try:
            model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        except Exception as error:  # Whatever the code of a model raises, its parts are not known then.
            raise AccessError(
                f"{type(model).__name__}: a short text does not go through it, so its parts cannot be found: "
                f"{type(error).__name__}: {error}"
            ) from error
    return calls


def _note(module: nn.Module, calls: dict[nn.Module, list[Call]], stack: ExitStack) -> None:
    given: list[Seen | None] = []

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        found = next((value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)), None)
        given.append(None if found is None else Seen.now(found))

    def after(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        made = first_tensor(output)
        call = Call(given.pop(), None if made is None else Seen.now(made), type(output))
        calls.setdefault(module, []).append(call)

    stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
    stack.callback(module.register_forward_hook(after).remove)


@contextmanager
def _without_dropout(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
