from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mithridate.core.artifacts import exclusive
from mithridate.core.errors import RunStateError, StorageError
from mithridate.core.whole_folder import Making, whole_folder

BESIDE = ".out.making"


def anything(_: Path) -> None:
    """Whatever is there may be replaced."""


def make(
    out: Path, words: str = "new", may_replace: Callable[[Path], None] | None = None, *, fail: bool = False
) -> None:
    with whole_folder(out, "a thing", "making", may_replace) as making:
        (making.new / "words").write_text(words)
        (making.scratch / "notes").write_text("gone at the end")
        if fail:
            raise KeyboardInterrupt


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def killed(out: Path, where: str) -> None:
    """A process that makes `out`, and is killed in the block or between the two renames."""
    code = f"""
import os, sys
from pathlib import Path
from mithridate.core import whole_folder as piece
def die(*_): os.kill(os.getpid(), 9)
if {where!r} == "between":
    real = Path.rename
    Path.rename = lambda self, to: (real(self, to), die())[0] if Path(to).name == "old" else real(self, to)
with piece.whole_folder(Path(sys.argv[1]), "a thing", "making", lambda _: None) as making:
    (making.new / "words").write_text("half")
    (making.scratch / "notes").write_text("left")
    if {where!r} == "block": die()
"""
    done = subprocess.run([sys.executable, "-c", code, str(out)], check=False, timeout=60)
    assert done.returncode == -9


def test_it_is_there_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with whole_folder(out, "a thing", "making") as making:
        (making.new / "words").write_text("new")
        assert not out.exists()
    assert contents(tmp_path) == {"deep/out/words": "new"}
    assert out.stat().st_mode & 0o777 == out.parent.stat().st_mode & 0o777


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "out", fail=True)
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_taken_and_no_other(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    make(out)
    with pytest.raises(StorageError, match=r"out: holds other things \(words\); a thing replaces nothing"):
        make(out, "again")
    with pytest.raises(StorageError, match="words: is no folder; a thing is one"):
        make(out / "words")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match="is no folder"):
        make(tmp_path / "link")
    assert contents(out) == {"words": "new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "out"]


def test_what_came_into_its_place_meanwhile_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        pytest.raises(StorageError, match="holds other things"),
        whole_folder(out, "a thing", "making"),
    ):
        out.mkdir()
        (out / "mine").write_text("mine")
    assert contents(tmp_path) == {"out/mine": "mine"}


def test_what_may_be_replaced_is_so_whole_and_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, "old")
    (out / "more").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        make(out, "half", anything, fail=True)
    assert contents(tmp_path) == {"out/words": "old", "out/more": "old"}
    make(out, "new", anything)
    assert contents(tmp_path) == {"out/words": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_may_not_be_replaced_stays(tmp_path: Path) -> None:
    def never(place: Path) -> None:
        raise StorageError(f"{place}: is dear to somebody")

    out = tmp_path / "out"
    make(out, "old")
    with pytest.raises(StorageError, match="out: is dear to somebody"):
        make(out, "new", never)
    assert contents(tmp_path) == {"out/words": "old"}


def test_killed_in_the_block_it_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed(out, "block")
    assert not out.exists()
    assert (tmp_path / BESIDE).is_dir()
    with whole_folder(out, "a thing", "making") as making:  # as empty as if nobody had been here
        assert not list(making.new.iterdir())
        assert not list(making.scratch.iterdir())
        (making.new / "words").write_text("new")
    assert contents(tmp_path) == {"out/words": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_killed_between_the_renames_the_old_one_comes_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out, "old")
    killed(out, "between")
    assert not out.exists()
    with pytest.raises(KeyboardInterrupt):
        make(out, "new", anything, fail=True)
    assert contents(tmp_path) == {"out/words": "old"}
    killed(out, "between")
    make(out, "new", anything)
    assert contents(tmp_path) == {"out/words": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_another_process_is_at_work_on_is_left_alone(tmp_path: Path) -> None:
    beside = tmp_path / BESIDE
    with exclusive(beside):
        (beside / "new").mkdir()
        (beside / "new" / "words").write_text("of another")
        with pytest.raises(RunStateError, match="is using this directory"):
            make(tmp_path / "out")
        assert (beside / "new" / "words").read_text() == "of another"
    # Nor is what is made of another name cleared: `.out.making` is not of `out.making`.
    make(tmp_path / "out.making")
    assert (beside / "new" / "words").exists()


def test_a_mount_point_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    real = Path.rename

    def busy(self: Path, target: Path) -> Path:
        if self == out:
            raise OSError(errno.EBUSY, "Device or resource busy")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", busy)
    with (
        pytest.raises(StorageError, match="is a mount point, or in use"),
        whole_folder(out, "a thing", "making"),
    ):
        pytest.fail("the work had begun")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_parent_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:  # root may write everywhere
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match="no permission to write here"):
        make(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_parent_that_is_a_file_or_no_name_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="something else of this name is in the way"):
        make(tmp_path / "file" / "out")
    for nameless in (Path("/"), tmp_path / ".."):
        with pytest.raises(StorageError, match="cannot be replaced by a thing"):
            make(nameless, "new", anything)
    assert contents(tmp_path) == {"file": "mine"}


def test_a_name_may_be_as_long_as_the_file_system_lets_it(tmp_path: Path) -> None:
    one, other = tmp_path / ("n" * 255), tmp_path / ("n" * 254)
    with whole_folder(one, "a thing", "making") as outer, whole_folder(other, "a thing", "making"):
        (outer.new / "words").write_text("new")
    assert contents(one) == {"words": "new"}
    assert not contents(other)
    assert len(list(tmp_path.iterdir())) == 2


def test_the_two_folders_lie_together(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out", "a thing", "making") as making:
        assert making == Making(tmp_path / BESIDE / "new", tmp_path / BESIDE / "scratch")
