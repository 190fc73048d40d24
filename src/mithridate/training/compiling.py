"""Compiling the loss of a training: fused kernels, made once for one shape of batch."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

Compile = bool | Literal["auto"]

# Compiling takes about twenty seconds, and saves about a third of every step after that.
WORTH_STEPS = 1_000

_CACHE = "TORCHINDUCTOR_CACHE_DIR"

_log = logging.getLogger(__name__)


def compiles(wanted: Compile, *, steps: int, device: torch.device) -> bool:
    """Whether a training of `steps` steps is compiled; "auto": on a CPU, where it pays and can be done.

    Depends on the options and the machine alone, so that a run and the one that resumes it agree.
    """
    if wanted != "auto":
        return wanted
    return device.type == "cpu" and steps >= WORTH_STEPS and _has_compiler()


def compiled(
    loss: Callable[[torch.Tensor], torch.Tensor],
    batch: torch.Tensor,
    backward: Callable[[torch.Tensor], None],
) -> Callable[[torch.Tensor], torch.Tensor]:
    """`loss` with kernels made for batches of the shape of `batch`; other shapes go the plain way.

    One shape alone, whatever comes first: kernels then do not depend on where a run was interrupted. The
    batch is put through forth and back once, which leaves gradients behind. Where no kernel can be built,
    that is said in the log, and the plain loss is returned.
    """
    _keep_kernels_at_home()
    inductor: Any = importlib.import_module("torch._inductor.config")
    dynamo: Any = importlib.import_module("torch._dynamo.exc")
    made = torch.compile(loss, dynamic=False)
    try:
        # In this process: a pool of compilers would outlive a worker that is killed. And without the cache of
        # graphs, which is read back by unpickling.
        with _without_remarks_on_cuda(), inductor.patch(compile_threads=1, fx_graph_cache=False):
            backward(made(batch))
    except (dynamo.TorchDynamoException, RuntimeError) as error:
        first = str(error).strip().partition("\n")[0]
        _log.warning("no kernels can be compiled here, training goes on without them: %s", first)
        return loss
    return lambda ids: made(ids) if ids.shape == batch.shape else loss(ids)


@contextmanager
def _without_remarks_on_cuda() -> Iterator[None]:
    """Torch remarks on a CUDA toolkit without a GPU once a process, although it compiles for the CPU here."""
    remarks = logging.getLogger("torch.utils.cpp_extension")
    before = remarks.level
    remarks.setLevel(logging.ERROR)
    try:
        yield
    finally:
        remarks.setLevel(before)


def _keep_kernels_at_home() -> None:
    """Not in /tmp, torch's place for them, where anybody could lay kernels for us to find."""
    places: Any = importlib.import_module("torch._inductor.runtime.cache_dir_utils")
    # Torch writes its own choice there when it is imported.
    if os.environ.get(_CACHE) in (None, places.default_cache_dir()):
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        os.environ[_CACHE] = str(home / "mithridate" / "kernels")


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX") or "", "g++", "clang++") if name)
