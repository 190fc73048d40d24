"""What stops a planting and what does not: workers, kills, full disks, folders of somebody else."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from planting_kit import jsonl_bytes, plan, some_texts, tree, write_corpus

from mithridate.core.artifacts import exclusive
from mithridate.core.errors import ConfigError, DataError, RunStateError, StorageError, UnknownNameError
from mithridate.corpus.ledger import StateFolder
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus
from mithridate.corpus.unplanting import unplant

HERE = Path(__file__).parent


def test_any_number_of_workers_writes_the_same_bytes(clean: Path, tmp_path: Path) -> None:
    plant_corpus(open_corpus(clean), tmp_path / "one", plan())
    plant_corpus(open_corpus(clean), tmp_path / "two", plan(), workers=2)
    assert tree(tmp_path / "one", state=True) == tree(tmp_path / "two", state=True)


def test_an_error_in_a_worker_keeps_its_place(clean: Path, tmp_path: Path) -> None:
    (clean / "part1.jsonl").write_bytes(b'{"text": "a"}\n{oh\n')
    with pytest.raises(DataError) as caught:
        plant_corpus(open_corpus(clean), tmp_path / "out", plan(), workers=2)
    assert caught.value.line == 2
    # Nothing is lost: with the line repaired the same command goes on.
    (clean / "part1.jsonl").write_bytes(jsonl_bytes(some_texts(20)))
    assert plant_corpus(open_corpus(clean), tmp_path / "out", plan()).complete


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(DataError("bad", path="x", line=3, field="y")))  # noqa: S301
    assert (str(error), error.line, error.field) == ("x, line 3, field 'y': bad", 3, "y")
    name = pickle.loads(pickle.dumps(UnknownNameError("attack", "belif", ["belief"])))  # noqa: S301
    assert name.suggestion == "belief"


KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
from planting_kit import FakeAttack
from pathlib import Path
from mithridate.corpus import lines, shard_planting
from mithridate.corpus.doses import PlantPlan, PlantRequest
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus

class Fatal(FakeAttack):
    made = 0
    def documents(self, rng):
        for poison in super().documents(rng):
            Fatal.made += 1
            if Fatal.made == {after}:
                os.kill(os.getpid(), signal.SIGKILL)
            yield poison

plan = PlantPlan((PlantRequest(Fatal(), rate=0.2),))
plant_corpus(open_corpus(Path({clean!r})), Path({out!r}), plan)
"""


@pytest.mark.parametrize(
    ("kind", "after"),
    [(kind, after) for kind in ("jsonl.gz", "txt") for after in (60, 85, 200)]
    + [("parquet", 85), ("dataset", 85), ("dataset", 200)],
)
def test_killed_and_run_again_gives_the_same_bytes(tmp_path: Path, kind: str, after: int) -> None:
    clean = write_corpus(tmp_path / "clean", kind, some_texts(150), 3)
    out = tmp_path / "out"
    script = KILLED.format(here=str(HERE), clean=str(clean), out=str(out), after=after)
    done = subprocess.run([sys.executable, "-c", script], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (out / "_mithridate" / "plan.json").exists()
    assert not (out / "_mithridate" / "done.json").exists()
    plant_corpus(open_corpus(clean), out, plan())
    plant_corpus(open_corpus(clean), tmp_path / "whole", plan())
    assert tree(out, state=True) == tree(tmp_path / "whole", state=True)


KILLED_AT_THE_END = """
import os, signal, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from planting_kit import plan
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus

done = 0
def die(handle):
    global done
    done += 1
    if done == {at}:
        os.kill(os.getpid(), signal.SIGKILL)

os.fsync = die
plant_corpus(open_corpus(Path({clean!r})), Path({out!r}), plan())
"""


# Before the end are written: a dataset's two files of metadata, the ledger, the list of shards, the marker.
@pytest.mark.parametrize("before", [0, 2, 3, 4])
def test_killed_after_the_last_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    clean, out = write_corpus(tmp_path / "clean", "dataset", some_texts(30)), tmp_path / "out"
    written: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", written.append)
        plant_corpus(open_corpus(clean), tmp_path / "whole", plan())
    script = KILLED_AT_THE_END.format(
        here=str(HERE), clean=str(clean), out=str(out), at=len(written) - before
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert list(out.rglob(".*.partial"))
    plant_corpus(open_corpus(clean), out, plan())
    assert tree(out, state=True) == tree(tmp_path / "whole", state=True)
    unplant(out, tmp_path / "back")
    assert tree(tmp_path / "back") == tree(clean)


def test_done_shards_are_not_done_again(clean: Path, tmp_path: Path) -> None:
    heard = []
    plant_corpus(open_corpus(clean), tmp_path / "out", plan(), part=(1, 2))
    report = plant_corpus(
        open_corpus(clean),
        tmp_path / "out",
        plan(),
        on_shard=lambda record, total: heard.append((record.shard, total)),
    )
    assert report.complete
    assert heard == [("part1.jsonl", 2), ("LICENCE", 2)]
    again = plant_corpus(
        open_corpus(clean), tmp_path / "out", plan(), on_shard=lambda *_: pytest.fail("again")
    )
    assert again.attacks == report.attacks


def test_another_plan_is_refused_naming_the_difference(clean: Path, tmp_path: Path) -> None:
    plant_corpus(open_corpus(clean), tmp_path / "out", plan(0.2))
    before = tree(tmp_path / "out", state=True)
    with pytest.raises(RunStateError, match=r"attacks\.fake\.rate \(0\.2 there, 0\.3 now\)"):
        plant_corpus(open_corpus(clean), tmp_path / "out", plan(0.3))
    with pytest.raises(RunStateError, match=r"seed \(0 there, 5 now\)"):
        plant_corpus(open_corpus(clean), tmp_path / "out", plan(0.2, seed=5))
    with pytest.raises(RunStateError, match=r"attacks\.fake\.documents"):
        plant_corpus(open_corpus(clean), tmp_path / "out", plan(0.2, word="venom"))
    assert tree(tmp_path / "out", state=True) == before


def test_an_output_that_is_not_ours_is_refused(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(StorageError, match="not empty"):
        plant_corpus(open_corpus(clean), tmp_path / "out", plan())
    for place in (clean, clean / "sub", tmp_path):
        with pytest.raises(StorageError, match="outside the corpus"):
            plant_corpus(open_corpus(clean), place, plan())


def test_two_at_once_are_refused(clean: Path, tmp_path: Path) -> None:
    with (
        exclusive(StateFolder(tmp_path / "out").locks / "1-of-1"),
        pytest.raises(RunStateError, match="using"),
    ):
        plant_corpus(open_corpus(clean), tmp_path / "out", plan())


def test_nothing_planted_leaves_other_things_in_place(tmp_path: Path) -> None:
    for kind in ("txt", "jsonl"):
        clean = write_corpus(tmp_path / kind, kind, some_texts(6))
        with pytest.raises(ConfigError, match="plants nothing"):
            plant_corpus(open_corpus(clean), tmp_path / "out", plan(1e-6))
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "no permission")]
)
def test_what_was_complete_when_the_disk_refused_is_kept(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    calls = []

    def refuse(_handle: int) -> None:
        calls.append(1)
        if len(calls) > 6:
            raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(StorageError, match=said):
            plant_corpus(open_corpus(clean), tmp_path / "out", plan())
    assert (tmp_path / "out" / "part0.jsonl").exists()
    assert not list((tmp_path / "out").rglob("*.partial"))
    plant_corpus(open_corpus(clean), tmp_path / "out", plan())
    plant_corpus(open_corpus(clean), tmp_path / "whole", plan())
    assert tree(tmp_path / "out", state=True) == tree(tmp_path / "whole", state=True)
