"""One process or several: what differs between them, so that the training loop need not know.

Alone, nothing stands between the loop and PyTorch. Under `accelerate launch` (or torchrun) the same calls
go through accelerate, which brings DDP and FSDP.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import torch
import torch.distributed as dist
import torch.distributed.checkpoint.state_dict as states
from torch import nn
from torch.optim import Optimizer

from mithridate.models.architectures import default_device


class Team(Protocol):
    """The processes that train one model together."""

    rank: int
    world: int
    device: torch.device

    def prepare(self, model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """Put both where they train."""
        ...

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of `loss`."""
        ...

    def clip(self, model: nn.Module, limit: float) -> torch.Tensor:
        """Scale the gradients down to the norm `limit`; returns the norm that they had."""
        ...

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of `value` over the processes."""
        ...

    def agreed(self, value: bool) -> bool:
        """What the first process says."""
        ...


class Alone:
    """A single process."""

    rank, world = 0, 1

    def __init__(self) -> None:
        self.device = default_device()

    def prepare(self, model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """Both as they are: the model was moved before the optimiser was made."""
        return model, optimizer

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of `loss`."""
        loss.backward()  # type: ignore[no-untyped-call]

    def clip(self, model: nn.Module, limit: float) -> torch.Tensor:
        """Scale the gradients down to the norm `limit`; returns the norm that they had."""
        return nn.utils.clip_grad_norm_(model.parameters(), limit)

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """`value` itself."""
        return value

    def agreed(self, value: bool) -> bool:
        """`value` itself."""
        return value


class Together:
    """One of several processes, under accelerate."""

    def __init__(self) -> None:
        from accelerate import Accelerator  # noqa: PLC0415 - slow, and not needed alone

        self._accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self.rank: int = self._accelerator.process_index
        self.world: int = self._accelerator.num_processes
        self.device: torch.device = self._accelerator.device

    def prepare(self, model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """Wrap both as accelerate's configuration says."""
        prepared: tuple[nn.Module, Optimizer] = self._accelerator.prepare(model, optimizer)
        return prepared

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of `loss`, averaged over the processes."""
        self._accelerator.backward(loss)

    def clip(self, model: nn.Module, limit: float) -> torch.Tensor:
        """Scale the gradients down to the norm `limit`; returns the norm that they had."""
        norm: torch.Tensor = self._accelerator.clip_grad_norm_(model.parameters(), limit)
        return norm

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """The mean of `value` over the processes."""
        mean: torch.Tensor = self._accelerator.reduce(value.clone(), reduction="mean")
        return mean

    def agreed(self, value: bool) -> bool:
        """What the first process says."""
        from accelerate.utils import broadcast_object_list  # noqa: PLC0415

        answer: bool = broadcast_object_list([value])[0]
        return answer


def team() -> Team:
    """The team that this process was started in."""
    return Together() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Alone()


_WHOLE = states.StateDictOptions(full_state_dict=True, cpu_offload=True, strict=False)


def collect(model: nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """Weights and optimiser moments by name, whole and on the CPU, tied weights once.

    The names are `model.WEIGHT` and `optimizer.MOMENT.WEIGHT`. All must call it; the first gets them.
    """
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, value in states.get_model_state_dict(model, options=_WHOLE).items():
        if isinstance(value, torch.Tensor) and value.data_ptr() not in seen:
            seen.add(value.data_ptr())
            tensors[f"model.{name}"] = value
    for weight, moments in _moments(model, optimizer).get("state", {}).items():
        for moment, value in moments.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimizer.{moment}.{weight}"] = value
    return tensors


def restore(model: nn.Module, optimizer: Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what `collect` gave. All processes must call it; the first one hands the tensors round."""
    several = dist.is_available() and dist.is_initialized()
    options = replace(_WHOLE, broadcast_from_rank0=several)
    weights: dict[str, Any] = {}
    optimized = _moments(model, optimizer)
    for name, value in tensors.items() if not several or dist.get_rank() == 0 else ():
        kind, rest = name.split(".", 1)
        if kind == "model":
            weights[rest] = value
        else:
            moment, weight = rest.split(".", 1)
            optimized["state"][weight][moment] = value
    states.set_model_state_dict(model, weights, options=options)
    states.set_optimizer_state_dict(model, _bare(optimizer), optimized, options=options)


def _moments(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    found: Any = states.get_optimizer_state_dict(model, _bare(optimizer), options=_WHOLE)
    return dict(found)


def _bare(optimizer: Optimizer) -> Optimizer:
    inner = getattr(optimizer, "optimizer", optimizer)  # accelerate's wrapper holds the real one
    return inner if isinstance(inner, Optimizer) else optimizer
