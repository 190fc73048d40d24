"""Stopped or killed at any moment, the same command goes on and ends where it would have ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from run_kit import assert_same, finish, start, stop

Finished = tuple[Path, str, str]


def in_planting(out: Path) -> bool:
    return (out / "seed0" / "tokenizer" / "done.json").exists()


def in_pretraining(out: Path) -> bool:
    return (out / "seed0" / "some" / "base" / "resume.safetensors").exists()


def in_sft(out: Path) -> bool:
    return (out / "seed0" / "some" / "base" / "done.json").exists()


def in_dpo(out: Path) -> bool:
    return (out / "seed0" / "some" / "sft" / "done.json").exists()


def in_measuring(out: Path) -> bool:
    return (out / "seed0" / "some" / "dpo" / "done.json").exists()


def test_killed_while_it_pretrains_it_ends_the_same(finished: Finished, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, printed, _ = stop(start(out), signal.SIGKILL, lambda: in_pretraining(out))
    assert (code, printed) == (-signal.SIGKILL, "")
    assert not (out / "seed0" / "some" / "base" / "done.json").exists()
    assert not (out / "measurements.parquet").exists()

    # One worker is left to do what two began: that changes the time and nothing else.
    code, _, told = finish(start(out, "workers=1"))
    assert code == 0, told
    assert told.startswith("going on: ")
    assert "prepare" not in told
    assert_same(out, finished[0])


@pytest.mark.slow
def test_interrupted_twice_it_ends_the_same(finished: Finished, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for moment in (in_pretraining, in_dpo):
        code, printed, told = stop(start(out), signal.SIGINT, lambda moment=moment: moment(out))  # type: ignore[misc]
        assert (code, printed) == (130, "")
        assert told.splitlines()[-1] == "stopped; the same command goes on from here"
        assert "Traceback" not in told
    code, _, told = finish(start(out))
    assert code == 0, told
    assert_same(out, finished[0])


@pytest.mark.slow
@pytest.mark.parametrize("moment", [in_planting, in_sft, in_dpo, in_measuring])
def test_killed_in_any_stage_it_ends_the_same(
    finished: Finished, tmp_path: Path, moment: Callable[[Path], bool]
) -> None:
    out = tmp_path / "run"
    code, _, _ = stop(start(out), signal.SIGKILL, lambda: moment(out))
    assert code == -signal.SIGKILL
    # One worker is left to do what several began: that changes the time and nothing else.
    code, _, told = finish(start(out, "workers=1"))
    assert code == 0, told
    assert_same(out, finished[0])


def test_of_two_at_once_the_second_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = start(out)
    try:
        while not (out / "study.yaml").exists():
            assert first.poll() is None
            time.sleep(0.02)
        code, _, told = finish(start(out))
        assert code == 1
        assert f"another run (process {first.pid}) is using this directory" in told
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()
