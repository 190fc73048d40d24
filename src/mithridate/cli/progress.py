"""How commands show that they get on: bars on a terminal; elsewhere a run tells a line a finished step."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from mithridate.corpus.ledger import OnShard, ShardRecord
    from mithridate.study.plan import Step


OnStage: TypeAlias = Callable[[str, int, int | None], None]
"""Called with what is done now, how much of it is done, and of how much where that is known."""


INTERRUPTED = 130  # as shells have it: 128 and the number of the signal
TERMINATED = 143
GOES_ON = "stopped; the same command goes on from here"


@contextmanager
def told_when_stopped(words: str = GOES_ON, *, terminated: bool = False) -> Iterator[None]:
    """Say `words` if the user interrupts what is done here, and leave with the exit code of shells for it.

    With `terminated`, SIGTERM is taken so too, for what would else leave unfinished files behind.
    """
    before = signal.signal(signal.SIGTERM, _terminate) if terminated else None
    try:
        yield
    except KeyboardInterrupt as stopped:
        Console(stderr=True).print(words, soft_wrap=True)
        raise typer.Exit(TERMINATED if isinstance(stopped, _Terminated) else INTERRUPTED) from None
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


class _Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def _terminate(_signal: int, _frame: object) -> None:
    # Once is enough: what is being cleared away is not to be interrupted again.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Terminated


@contextmanager
def stages_progress() -> Iterator[OnStage | None]:
    """A callback that draws a bar a stage, with the time left; None where standard error is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def on_stage(what: str, done: int, total: int | None) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done, total=total)

        yield on_stage


@contextmanager
def shards_progress(what: str) -> Iterator[OnShard | None]:
    """A callback for each shard that is done, which draws a bar; None where standard error is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)

        def on_shard(_record: ShardRecord, total: int) -> None:
            progress.update(task, advance=1, total=total)

        yield on_shard


class RunProgress:
    """Watches a run; shows one bar for all of it, called `whole`, and one for each step at work."""

    def __init__(self, whole: str = "the study") -> None:
        self._whole = whole
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._over: set[str] = set()
        self._all: TaskID | None = None
        self._done = self._count = 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def planned(self, steps: list[Step], done: int) -> None:
        """All steps are known."""
        self._count, self._done = len(steps), done
        self._all = self._bars.add_task(self._whole, total=len(steps), completed=done, loss="")
        if done and done < len(steps):
            self._console.print(f"going on: {done} of {len(steps)} steps are done")

    def news(self, label: str, done: int, total: int, loss: float) -> None:
        """A step has come so far."""
        if label in self._over:  # news travels more slowly than the result
            return
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, total=total or None, loss="")
        shown = f"loss {loss:.3f}" if loss else ""
        self._bars.update(self._tasks[label], completed=done, total=total or None, loss=shown)

    def finished(self, step: Step, seconds: float) -> None:
        """A step is done."""
        self._done += 1
        self._over.add(step.label)
        if step.label in self._tasks:
            self._bars.remove_task(self._tasks.pop(step.label))
        if self._all is not None:
            self._bars.update(self._all, completed=self._done)
        if not self._console.is_terminal:
            # Few enough lines to read in a log; quiet means no bars, not no word.
            self._console.print(
                f"[{self._done}/{self._count}] {step.label}: {seconds:.0f} s", markup=False, soft_wrap=True
            )
