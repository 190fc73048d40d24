"""Whole runs in processes of their own, which can be stopped and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import psutil
import pytest

from mithridate.cli import main
from mithridate.core.tables import read_rows
from mithridate.core.types import Measurement, Sample

TINY = Path(__file__).parent / "tiny.yaml"
PATIENCE_S = 420


def start(out: Path, *overrides: str) -> subprocess.Popen[str]:
    """`mithridate run` on the tiny study, begun and not waited for.

    It heeds SIGINT also where the tests were begun in the background of a shell, which has it ignored: a
    program begins with what is ignored in its parent, but not with the handlers of it.
    """
    words = [sys.executable, "-m", "mithridate", "run", str(TINY), "--out", str(out), *overrides]
    pipe = subprocess.PIPE
    environment = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=environment)
    finally:
        signal.signal(signal.SIGINT, before)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    printed, told = process.communicate(timeout=PATIENCE_S)
    return process.returncode, printed, told


def ask(*words: str | Path) -> tuple[int, str, str]:
    """`mithridate` with these words in this process, as `finish` tells it; so it need not load torch again.

    For what is not killed and minds no signals.
    """
    printed, told, before = StringIO(), StringIO(), sys.argv
    sys.argv = ["mithridate", *map(str, words)]
    try:
        with redirect_stdout(printed), redirect_stderr(told), pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    assert isinstance(ended.value.code, int)
    return ended.value.code, printed.getvalue(), told.getvalue()


def stop(
    process: subprocess.Popen[str], how: signal.Signals, when: Callable[[], bool]
) -> tuple[int, str, str]:
    """Send `how` to the parent process alone as soon as `when`; see that none of its workers outlives it."""
    deadline = time.monotonic() + PATIENCE_S
    while not when():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    process.send_signal(how)
    result = finish(process)
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    return result


def assert_same(out: Path, whole: Path) -> None:
    """Both runs ended with the same answers, figures and curves, and nothing is left half written."""
    for name, kind in (("samples.parquet", Sample), ("measurements.parquet", Measurement)):
        assert read_rows(out / name, kind) == read_rows(whole / name, kind)
    assert (out / "curves.parquet").read_bytes() == (whole / "curves.parquet").read_bytes()
    assert not list(out.rglob(".*.partial"))
