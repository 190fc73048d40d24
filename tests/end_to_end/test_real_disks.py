"""Real disks that are full or may not be written to: an error of one line, nothing lost, and it can go on.

They are file systems in memory, which only root may mount; without root the full ones are skipped, and a
folder without the permission stands in for the read-only one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from disk_kit import mounted, remount
from planting_kit import some_texts, tree, write_corpus
from run_kit import assert_same, finish, start

Finished = tuple[Path, str, str]
ENOUGH = "size=200m"


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing can be made."""
    if os.geteuid() == 0:
        with mounted(tmp_path / "disk", "size=1m,ro") as place:
            yield place
        return
    place = tmp_path / "locked"
    place.mkdir(mode=0o555)
    yield place


def plant(clean: Path, out: Path, *more: str) -> tuple[int, str]:
    """Exit code of `mithridate plant`, and what it told."""
    words = ["--attack", "denial_of_service", "--rate", "0.01", *more]
    command = [sys.executable, "-m", "mithridate", "plant", str(clean), "--out", str(out), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four megabytes in four shards."""
    return write_corpus(tmp_path_factory.mktemp("corpora") / "clean", "jsonl", some_texts(400) * 50, 4)


@pytest.fixture(scope="module")
def planted(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, planted where there is room."""
    out = tmp_path_factory.mktemp("planted") / "whole"
    assert plant(corpus, out)[0] == 0
    return out


@pytest.mark.parametrize("workers", ["1", "2"])
def test_planting_on_a_full_disk_goes_on_when_there_is_room(
    corpus: Path, planted: Path, tmp_path: Path, workers: str
) -> None:
    with mounted(tmp_path / "disk", "size=2m") as disk:
        code, told = plant(corpus, disk / "out", "--workers", workers)
        assert code == 1
        assert told.startswith("error: ")
        assert "the disk is full. Nothing that was complete is lost" in told
        assert "Traceback" not in told
        assert not list(disk.rglob("*.partial"))
        remount(disk, ENOUGH)
        code, told = plant(corpus, disk / "out", "--workers", workers)
        assert code == 0, told
        assert tree(disk / "out", state=True) == tree(planted, state=True)


def test_a_run_on_a_full_disk_goes_on_when_there_is_room(finished: Finished, tmp_path: Path) -> None:
    # Where it runs full: with the first documents, and with the weights of a model.
    # It goes on with one worker, which has half to load; the threads are those that it was begun with.
    with mounted(tmp_path / "disk", "size=60k") as disk:
        for size, workers in (("60k", 2), ("700k", 1)):
            remount(disk, f"size={size}")
            code, printed, told = finish(start(disk / "run", f"workers={workers}"))
            assert (code, printed) == (1, ""), told
            (error,) = [
                line for line in told.splitlines() if not line.startswith("[") and "going on" not in line
            ]
            assert error.startswith("error: ")
            assert "the disk is full. Nothing that was complete is lost" in error
        remount(disk, ENOUGH)
        code, _, told = finish(start(disk / "run", "workers=1"))
        assert code == 0, told
        assert_same(disk / "run", finished[0])


def assert_refused(code: int, told: str, out: Path) -> None:
    assert code == 1
    assert told.startswith(f"error: {out}")
    assert told.endswith(": no permission to write here. Choose another --out or change its permissions\n")
    assert told.count("\n") == 1


def test_planting_where_nothing_may_be_written(corpus: Path, unwritable: Path) -> None:
    code, told = plant(corpus, unwritable / "out")
    assert_refused(code, told, unwritable / "out")


def test_a_run_where_nothing_may_be_written(unwritable: Path) -> None:
    code, printed, told = finish(start(unwritable / "run"))
    assert printed == ""
    assert_refused(code, told, unwritable / "run")
