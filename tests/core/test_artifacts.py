from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mithridate.core.artifacts import (
    MARKER,
    atomic_path,
    differences,
    done_record,
    exclusive,
    fingerprint,
    mark_done,
    storage_errors,
    sweep,
    write_atomic,
)
from mithridate.core.errors import RunStateError, StorageError


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as beside:
        beside.write_text("half")
        raise KeyboardInterrupt
    assert list(target.parent.iterdir()) == []
    write_atomic(target, "one")
    with pytest.raises(RuntimeError), atomic_path(target) as beside:
        beside.write_text("half of two")
        assert target.read_text() == "one"
        raise RuntimeError
    assert target.read_text() == "one"
    write_atomic(target, b"two")
    assert target.read_text() == "two"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_atomic(target, "old")
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom mithridate.core.artifacts import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as beside:\n"
        "    beside.write_text('new'); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], check=False, timeout=60)
    assert done.returncode == -9
    assert target.read_text() == "old"


def test_the_marker_tells_what_is_complete(tmp_path: Path) -> None:
    assert done_record(tmp_path / "stage") is None
    (tmp_path / "stage").mkdir()
    assert done_record(tmp_path / "stage") is None
    mark_done(tmp_path / "stage", {"tokens": 7, "from": Path("x")})
    assert done_record(tmp_path / "stage") == {"tokens": 7, "from": "x"}


def test_fingerprints_are_of_values_not_of_order() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint([1, 2]) != fingerprint([2, 1])
    assert fingerprint("\ud800") != fingerprint("\ud801")


def test_differences_name_key_and_both_values() -> None:
    there = {"seed": 0, "sft": {"epochs": 1.0, "data": ["a"]}, "dpo": {"beta": 0.2}, "title": "x" * 99}
    now = {"seed": 0, "sft": {"epochs": 2.0, "data": ("a",)}, "dpo": None, "title": "y", "new": Path("z")}
    assert differences(there, now) == [
        'dpo ({"beta": 0.2} there, null now)',
        'new (null there, "z" now)',
        "sft.epochs (1.0 there, 2.0 now)",
        f'title ("{"x" * 58}… there, "y" now)',
    ]


def test_what_is_absent_and_what_is_nothing_are_alike() -> None:
    assert differences({"rate": None}, {}) == []
    assert differences({}, {"nested": {"rate": None}}) == ['nested (null there, {"rate": null} now)']


HOLDER = (
    "import sys\nfrom pathlib import Path\nfrom mithridate.core.artifacts import exclusive\n"
    "with exclusive(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
)


def test_one_process_a_directory(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        taken = pytest.raises(
            RunStateError, match=f"another run .process {holder.pid}. is using this directory"
        )
        with taken, exclusive(folder):
            raise AssertionError("entered a directory that another process holds")
        # The kernel lets go of the lock, however the process ends.
        holder.kill()
        holder.wait(timeout=60)
        with exclusive(folder):
            pass
    with exclusive(folder):
        pass


def test_where_files_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match="cannot lock files"), exclusive(tmp_path):
        pass


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full.*run the same command again"),
        (errno.EDQUOT, "disk is full"),
        (errno.EACCES, "no permission.*--out"),
        (errno.EROFS, "no permission"),
        (errno.ENAMETOOLONG, "name is too long.*--out"),
        (errno.EIO, r"refuses this place \(Input/output error\).*--out"),
    ],
)
def test_refusals_of_the_system_say_what_to_do(tmp_path: Path, number: int, words: str) -> None:
    with pytest.raises(StorageError, match=words) as caught, storage_errors(tmp_path / "out"):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path / "out") in str(caught.value)


@pytest.mark.parametrize(
    "error", [OSError("of a library"), ConnectionResetError(errno.ECONNRESET, "of a pipe"), ValueError("odd")]
)
def test_errors_that_are_not_of_a_file_pass_unchanged(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, storage_errors(tmp_path):
        raise error
    assert caught.value is error


def test_a_place_where_nothing_can_be_made() -> None:
    with pytest.raises(StorageError, match=r"^/proc/there: the system refuses this place"):
        write_atomic(Path("/proc/there/below/file"), "x")
    with (
        pytest.raises(StorageError, match=r"^/proc/there: the system refuses"),
        exclusive(Path("/proc/there")),
    ):
        pass


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127])
def test_the_longest_names_are_written(tmp_path: Path, name: str) -> None:
    write_atomic(tmp_path / name, "x")
    assert (tmp_path / name).read_text() == "x"
    with pytest.raises(StorageError, match="name is too long"):
        write_atomic(tmp_path / (name + "nn"), "x")


def test_leftovers_of_one_file_are_swept_and_those_of_no_other(tmp_path: Path) -> None:
    kept = []
    for name in ("a", "a.b", "a*", ".a"):
        with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / name) as beside:
            raise KeyboardInterrupt
        beside.write_text("half")  # as a kill would leave it
        kept.append(beside)
    sweep(tmp_path / "a")
    assert sorted(tmp_path.iterdir()) == sorted(kept[1:])
    for name in ("a.b", "a*", ".a"):
        sweep(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_marker_is_named(tmp_path: Path) -> None:
    for damaged in (b"", b'{"a": ', b"[]", b"\xff"):
        (tmp_path / MARKER).write_bytes(damaged)
        with pytest.raises(RunStateError, match=r"done\.json: is damaged"):
            done_record(tmp_path)


def test_a_folder_is_waited_for_even_if_its_holder_removes_it(tmp_path: Path) -> None:
    folder, order = tmp_path / "run", []

    def second() -> None:
        with exclusive(folder, wait=True):
            order.append("second")
            assert folder.exists()

    thread = threading.Thread(target=second)
    with exclusive(folder):
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        shutil.rmtree(folder)
        with exclusive(folder):  # a new folder has a lock of its own
            order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


def test_a_full_disk_does_not_hide_who_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with exclusive(tmp_path), pytest.raises(RunStateError, match="process unknown"), exclusive(tmp_path):
        pass


def test_something_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="in the way"), exclusive(tmp_path / "file"):
        pass
    with pytest.raises(StorageError, match="in the way"):
        write_atomic(tmp_path / "file" / "below.txt", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="in the way"):
        write_atomic(tmp_path / "folder", "x")
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomic(tmp_path / "f", "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        write_atomic(tmp_path / "f", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "old"
