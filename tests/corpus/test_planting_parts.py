"""Parts of one planting at the same time: nothing is lost, whoever comes last, and none takes another's."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from planting_kit import FakeAttack, plan, some_texts, tree, write_corpus

from mithridate.core.artifacts import exclusive
from mithridate.core.errors import DataError, RunStateError
from mithridate.core.types import Poison
from mithridate.corpus import planting
from mithridate.corpus.doses import PlantPlan, PlantRequest
from mithridate.corpus.ledger import StateFolder, merge_ledgers
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus

HERE = Path(__file__).parent


def test_parts_that_finish_together_keep_the_ledger(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, reports = tmp_path / "out", []

    def go(number: int) -> None:
        reports.append(plant_corpus(open_corpus(clean), out, plan(), part=(number, 2)))

    go(2)
    other = threading.Thread(target=go, args=(2,))

    def slowly(*given: object) -> None:
        if other.ident is None:
            other.start()
            other.join(1)  # as long as it lasts, were it not held up
        merge_ledgers(*given)

    monkeypatch.setattr(planting, "merge_ledgers", slowly)
    go(1)
    other.join(60)
    assert [report.complete for report in reports] == [False, True, True]
    planted = reports[1].attacks[0].documents
    assert planted == reports[2].attacks[0].documents
    assert pq.read_metadata(StateFolder(out).ledger).num_rows == planted > 0
    plant_corpus(open_corpus(clean), tmp_path / "whole", plan())
    assert tree(out, state=True) == tree(tmp_path / "whole", state=True)


START = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from planting_kit import plan
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus
report = plant_corpus(open_corpus(Path({clean!r})), Path({out!r}), plan(), part=({number}, 4))
print(report.complete, report.attacks[0].documents)
"""


def test_processes_that_start_together(tmp_path: Path) -> None:
    clean, out = write_corpus(tmp_path / "clean", "jsonl", some_texts(40), 8), tmp_path / "out"
    commands = [
        [sys.executable, "-c", START.format(here=str(HERE), clean=str(clean), out=str(out), number=number)]
        for number in range(1, 5)
    ]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    told = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0] * 4
    whole = plant_corpus(open_corpus(clean), tmp_path / "whole", plan())
    assert f"True {whole.attacks[0].documents}\n" in told
    assert tree(out, state=True) == tree(tmp_path / "whole", state=True)


@pytest.mark.parametrize(("held", "wanted"), [("1-of-1", (1, 2)), ("1-of-2", (1, 1)), ("2-of-3", (1, 2))])
def test_another_division_at_the_same_time_is_refused(
    clean: Path, tmp_path: Path, held: str, wanted: tuple[int, int]
) -> None:
    locks = StateFolder(tmp_path / "out").locks
    with exclusive(locks / held), pytest.raises(RunStateError, match="is at work here, and may share shards"):
        plant_corpus(open_corpus(clean), tmp_path / "out", plan(), part=wanted)
    # Once it is gone, what it left is no hindrance.
    plant_corpus(open_corpus(clean), tmp_path / "out", plan(), part=wanted)


def test_parts_of_one_division_work_side_by_side(clean: Path, tmp_path: Path) -> None:
    with exclusive(StateFolder(tmp_path / "out").locks / "1-of-2"):
        report = plant_corpus(open_corpus(clean), tmp_path / "out", plan(), part=(2, 2))
    assert not report.complete


def test_what_another_part_is_writing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = write_corpus(tmp_path / "clean", "jsonl", some_texts(40), 1)
    (clean / "part0.jsonl.b.jsonl").write_bytes((clean / "part0.jsonl").read_bytes())
    shards, lasting = {shard.name: shard for shard in open_corpus(clean).shards}, []
    real = planting.plant_shards

    def both(*given: object) -> Iterator[object]:
        # The shard whose name begins as the other's does is half written by another process.
        from mithridate.core.artifacts import atomic_path  # noqa: PLC0415

        with atomic_path(shards["part0.jsonl.b.jsonl"].output(tmp_path / "out")) as beside:
            beside.write_text("half")
            yield from real(*given)
            lasting.append(beside.exists())

    monkeypatch.setattr(planting, "plant_shards", both)
    plant_corpus(open_corpus(clean), tmp_path / "out", plan(), part=(1, 3))
    assert lasting == [True]


def test_a_ledger_that_lacks_a_part_is_no_ledger(clean: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plant_corpus(open_corpus(clean), out, plan(), part=(1, 2))
    lost = StateFolder(out).part(0, ".parquet")
    plant_corpus(open_corpus(clean), tmp_path / "whole", plan())
    assert lost.exists()
    lost.unlink()
    # The shard is planted again, because nobody knows any more where.
    assert plant_corpus(open_corpus(clean), out, plan()).complete
    assert tree(out, state=True) == tree(tmp_path / "whole", state=True)
    with pytest.raises(DataError, match="0000000"):
        merge_ledgers([(lost, 3)], tmp_path / "merged.parquet")
    with pytest.raises(DataError, match="tells of 7 planted documents where there are 8"):
        merge_ledgers([(some_ledger(tmp_path), 8)], tmp_path / "merged.parquet")
    assert not (tmp_path / "merged.parquet").exists()


def some_ledger(tmp_path: Path) -> Path:
    """A ledger of seven documents."""
    clean = write_corpus(tmp_path / "seven", "jsonl", some_texts(9), 1)
    return plant_corpus(open_corpus(clean), tmp_path / "seven-planted", plan(None, 7)).ledger


class Fatal(FakeAttack):
    """Kills the process that asks for its documents, where that is a worker."""

    def documents(self, rng: random.Random) -> Iterator[Poison]:
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().documents(rng)


def test_a_worker_that_dies_is_an_error_of_one_line(clean: Path, tmp_path: Path) -> None:
    fatal = PlantPlan((PlantRequest(Fatal(), rate=0.2),))
    with pytest.raises(RunStateError, match="worker process died"):
        plant_corpus(open_corpus(clean), tmp_path / "out", fatal, workers=2)
    assert plant_corpus(open_corpus(clean), tmp_path / "out", plan()).complete


ORPHANS = """
import os, signal, sys, time
sys.path.insert(0, {here!r})
from pathlib import Path
from planting_kit import FakeAttack
from mithridate.corpus.doses import PlantPlan, PlantRequest
from mithridate.corpus.planting import plant_corpus
from mithridate.corpus.readers import open_corpus

class Slow(FakeAttack):
    def documents(self, rng):
        # The parent makes some too, for the fingerprint of the plan.
        if __name__ != "__main__":
            Path({told!r}, str(os.getpid())).write_text("")
            time.sleep(60)
        return super().documents(rng)

if __name__ == "__main__":
    plan = PlantPlan((PlantRequest(Slow(), rate=0.2),))
    plant_corpus(open_corpus(Path({clean!r})), Path({out!r}), plan, workers=2)
"""


def test_workers_die_with_their_parent(clean: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    told.mkdir()
    script = tmp_path / "script.py"
    script.write_text(
        ORPHANS.format(here=str(HERE), told=str(told), clean=str(clean), out=str(tmp_path / "out"))
    )
    with subprocess.Popen([sys.executable, str(script)]) as parent:
        wait_for(lambda: len(list(told.iterdir())) == 2)
        parent.kill()
    for process in told.iterdir():
        wait_for(lambda process=process: not Path("/proc", process.name).exists())


def wait_for(what: object) -> None:
    until = time.monotonic() + 60
    while not what():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.05)
