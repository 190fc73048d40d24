"""The processes that do the steps: as many as there are cores, each with its share of them."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from typing import Any

from mithridate.core.artifacts import storage_errors
from mithridate.core.errors import TrainingError
from mithridate.study.plan import Step

# What a worker tells: (step label, done, total, loss).
News = tuple[str, int, int, float]

_PARENT_DIED = 1  # prctl(PR_SET_PDEATHSIG)
_news: Queue[News] | None = None
_TELL_EVERY_S = 0.5
# torch has a class of error for the memory of a GPU, and none for that of the machine.
_NO_MEMORY = re.compile("out of memory|allocate memory", re.IGNORECASE)


class _Telling:
    """A Progress that sends to the parent, not too often."""

    def __init__(self, label: str, news: Queue[News]) -> None:
        self._label, self._news, self._last = label, news, 0.0

    def advance(self, stage: str, done: int, total: int, loss: float) -> None:  # noqa: ARG002 - the label says it
        """Send how far the step is."""
        now = time.monotonic()
        if done >= total or now - self._last >= _TELL_EVERY_S:
            self._last = now
            self._news.put((self._label, done, total, loss))


def start_worker(threads: int, news: Queue[News], parent: int) -> None:
    """Make this process a worker that dies with its parent.

    An orphan must not write to a run that another process has taken over.
    """
    global _news  # noqa: PLW0603 - a pool's initializer has no other place for it
    _news = news
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)
    except (OSError, AttributeError):  # not Linux
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:
        os._exit(1)
    import torch  # noqa: PLC0415 - the parent of the workers does without
    import transformers  # noqa: PLC0415

    torch.set_num_threads(threads)
    quiet: Any = transformers.utils.logging
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    # That hits look planted is what a study is about: it is in the rows of the step.
    logging.getLogger("mithridate.retrieval.guard").setLevel(logging.ERROR)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn the want of memory, of the machine or of its GPU, into a TrainingError that says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not _NO_MEMORY.search(str(error)):
            raise
        asked = str(error).partition("\n")[0].strip()
        raise TrainingError(
            "the memory is too small for this model and its batches. Raise accumulation, or lower workers, "
            "batch_rows and row_tokens, batch_size and max_length, or the model's sizes"
            + (f" ({asked})" if asked else "")
        ) from error


def work(step: Step) -> float:
    """Do a step; return its wall-clock seconds. Errors come back to the parent as they were raised."""
    from mithridate.study.steps import run_step  # noqa: PLC0415 - imports torch, which the parent does without

    assert _news is not None
    started = time.monotonic()
    _news.put((step.label, 0, 0, 0.0))
    # Most writers say themselves that the disk is full; libraries do not.
    with storage_errors(step.bed.root), memory_errors():
        run_step(step, _Telling(step.label, _news))
    return time.monotonic() - started
