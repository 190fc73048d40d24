"""Passes that begin half-way up: blocks below a patch give at once what they gave before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from mithridate.core.errors import AccessError
from mithridate.models.access import parts_of
from mithridate.models.blocks import Block
from mithridate.models.tracing import first_tensor


class Recorded:
    """What every block returned when one batch of texts went through a model, without a cache."""

    def __init__(self, blocks: tuple[Block, ...]) -> None:
        self._blocks = blocks
        self._returned: dict[int, Any] = {}

    @contextmanager
    def begun_after(self, layer: int) -> Iterator[None]:
        """Let the blocks 0 to `layer` not run in the block of code, but return what they returned before.

        What goes through the model in there must be the batch that was recorded. Hooks on those blocks see
        what they return, as ever; -1 lets all blocks run. Raises AccessError where nothing was recorded, or
        for a block that the model does not have.
        """
        if layer >= len(self._blocks):
            raise AccessError(
                f"the model has the blocks 0 to {len(self._blocks) - 1}, so no pass begins after {layer}"
            )
        with ExitStack() as stack:
            for number in range(layer + 1):
                if number not in self._returned:
                    raise AccessError(
                        f"what block {number} returns was not recorded: no text went through it"
                    )
                stack.enter_context(_answering(self._blocks[number].module, self._again(number)))
            yield

    def note(self, number: int, output: Any) -> None:
        """Keep what block `number` returned; a copy where the model will change it."""
        self._returned[number] = _fresh(output) if self._blocks[number].overwritten else output

    def _again(self, number: int) -> Callable[[], Any]:
        output = self._returned[number]
        return (lambda: _fresh(output)) if self._blocks[number].overwritten else (lambda: output)


@contextmanager
def recording(model: PreTrainedModel) -> Iterator[Recorded]:
    """Record what each block returns for the one batch that goes through `model` in the block of code.

    Raises AccessError for a model whose blocks are not found. No hook is left behind.
    """
    blocks = parts_of(model).blocks
    recorded = Recorded(blocks)

    def noting(number: int) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        return lambda _, __, output: recorded.note(number, output)

    with ExitStack() as stack:
        for number, block in enumerate(blocks):
            stack.callback(block.module.register_forward_hook(noting(number)).remove)
        yield recorded


def _fresh(output: Any) -> Any:
    tensor = first_tensor(output)
    assert tensor is not None  # or it would not have been found to be a block
    if isinstance(output, torch.Tensor):
        return tensor.clone()
    return type(output)((tensor.clone(), *output[1:]))


@contextmanager
def _answering(module: nn.Module, answer: Callable[[], Any]) -> Iterator[None]:
    """Let `module` return `answer()` without running."""
    own = vars(module).get("forward")
    vars(module)["forward"] = lambda *_, **__: answer()
    try:
        yield
    finally:
        if own is None:
            del vars(module)["forward"]
        else:
            vars(module)["forward"] = own
