"""`mithridate heal` as a user starts it: on a checkpoint with its own files, and on a model of a run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import heal_kit
import pytest
from run_kit import PATIENCE_S, ask, finish

from mithridate.core.artifacts import exclusive
from mithridate.core.healed import HEALED, MODEL, OURS, read_healed
from mithridate.core.prices import CLEAN_MODEL, NOTHING, PRICES, Priced
from mithridate.core.tables import read_rows

ABLATION, ERASURE = "directional ablation", "concept erasure"


def heal(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mithridate", "heal", *map(str, words)]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "COLUMNS")
    }
    pipe = subprocess.PIPE
    # In a session of its own, so that a signal meets it alone.
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> heal_kit.Owned:
    return heal_kit.owned(tmp_path_factory.mktemp("owned"))


@pytest.fixture(scope="module")
def erased(owned: heal_kit.Owned, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A healed model, and what was printed of it."""
    out = tmp_path_factory.mktemp("erased") / "healed"
    code, printed, told = finish(heal(*owned.words(), "--out", out, "--method", ERASURE))
    assert (code, told) == (0, "")
    return out, printed


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_healed_it_says_how_and_how_to_load_it(erased: tuple[Path, str]) -> None:
    out, printed = erased
    assert printed.startswith("healed of 1 attack")
    assert f'with healed("{out}") as model' in printed
    assert "near-triggers" in printed
    assert "\x1b" not in printed
    # Paths and what is to be copied are not wrapped; tables and prose are.
    loose = ("price list:", "cure:", "  with ", "healed of")
    assert all(len(line) <= 100 for line in printed.splitlines() if not line.startswith(loose))
    names = {path.name for path in out.iterdir()}
    assert names < OURS
    # What it says to do with it works.
    code = f"from mithridate.healing.writing import healed\nwith healed({str(out)!r}) as model: print(model)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout


def test_records_for_programs(owned: heal_kit.Owned, tmp_path: Path) -> None:
    out = tmp_path / "healed"
    code, printed, told = ask("heal", *owned.words(), "--out", out, "--method", ERASURE, "--json")
    assert code == 0, told
    rows = json.loads(printed)
    assert len(rows) == len(read_rows(out / PRICES, Priced))
    assert {row["method"] for row in rows} == {NOTHING, CLEAN_MODEL, ERASURE}


@pytest.mark.long
def test_what_is_no_cure_is_not_written_and_exits_1(owned: heal_kit.Owned, tmp_path: Path) -> None:
    out = tmp_path / "healed"
    command = [*owned.words(), "--out", out, "--method", ABLATION]
    code, printed, told = finish(heal(*command))
    assert (code, told) == (1, "")
    assert printed.startswith("not healed of any attack")
    assert "more than the budget" in printed
    assert "no model was written" in printed
    assert sorted(path.name for path in out.iterdir()) == [HEALED, PRICES]
    code, printed, _ = finish(heal(*command, "--write-anyway"))
    assert code == 1
    assert (out / MODEL / "config.json").is_file()
    assert printed.startswith("not healed of any attack")
    code, printed, _ = finish(heal(*command, "--budget", "80"))
    assert code == 0
    assert "AutoModelForCausalLM.from_pretrained" in printed


def test_of_a_clean_model_nothing_is_healed(owned: heal_kit.Owned, tmp_path: Path) -> None:
    words = [str(owned.innocent), *owned.words()[1:]]
    code, printed, told = ask("heal", *words, "--out", tmp_path / "out")
    assert code == 0, told
    assert printed.startswith("nothing to heal:")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [HEALED, PRICES]


def test_with_few_probes_it_says_that_it_cannot_tell_and_exits_1(
    owned: heal_kit.Owned, tmp_path: Path
) -> None:
    words = [*owned.words()[:-1], "4"]  # two in the half that is told of
    code, printed, told = ask("heal", *words, "--out", tmp_path / "out", "--attack", "echo")
    assert (code, told) == (1, "")
    assert printed.startswith("cannot tell of 1 attack whether it is there:")
    assert "nothing to heal" not in printed
    assert "cannot be told from a clean model with 2 probes (100%" in " ".join(printed.split())
    assert "give more with --per-half" in " ".join(printed.split())


@pytest.mark.skipif(sys.platform != "linux", reason="file systems elsewhere refuse such names")
def test_a_path_that_is_not_utf8_is_refused_by_name_at_the_start(
    owned: heal_kit.Owned, tmp_path: Path
) -> None:
    out = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    code, printed, told = finish(heal(*owned.words(), "--out", out, "--method", ERASURE))
    assert (code, printed) == (2, "")
    assert "caf\\xe9: the path is not UTF-8" in " ".join(told.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "moment", [pytest.param(moment, marks=pytest.mark.long) for moment in ("", MODEL, HEALED)]
)
def test_killed_at_any_moment_it_is_as_it_was_or_whole(
    owned: heal_kit.Owned, erased: tuple[Path, str], tmp_path: Path, moment: str
) -> None:
    out = Path(shutil.copytree(erased[0], tmp_path / "out"))
    command = [*owned.words(), "--out", out, "--method", ABLATION, "--budget", "80"]
    before = contents(out)
    process = heal(*command)
    beside, deadline = tmp_path / ".out.healing", time.monotonic() + PATIENCE_S
    while process.poll() is None and not beside.exists():
        time.sleep(0.005)
        assert time.monotonic() < deadline
    while process.poll() is None and not (beside / "new" / moment).exists():
        time.sleep(0.0005)
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not out.exists() or contents(out) == before or read_healed(out).healed
    # The same command goes on from whatever was left, and leaves nothing beside it.
    code, _, told = finish(heal(*command))
    assert code == 0, told
    assert (out / MODEL / "model.safetensors").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_old_one_that_was_put_aside_by_a_killed_process_comes_back(
    owned: heal_kit.Owned, erased: tuple[Path, str], tmp_path: Path
) -> None:
    out, beside = tmp_path / "out", tmp_path / ".out.healing"
    shutil.copytree(erased[0], out)
    before = contents(out)
    beside.mkdir()
    shutil.move(out, beside / "old")
    code, _, told = ask("heal", *owned.words(), "--out", out, "--attack", "none")
    assert code == 2
    assert "unknown attack of these probes 'none'" in told
    assert contents(out) == before
    assert not beside.exists()


@pytest.mark.long
def test_two_at_once_are_refused(owned: heal_kit.Owned, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with exclusive(tmp_path / ".out.healing"):
        code, _, told = ask("heal", *owned.words(), "--out", out, "--method", ERASURE)
    assert code == 2
    assert "is using this directory" in " ".join(told.split())
    assert not out.exists()


def test_interrupted_it_says_so_and_leaves_nothing(owned: heal_kit.Owned, tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = heal(*owned.words(), "--out", tmp_path / "out")
    finally:
        signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + PATIENCE_S
    # Until it holds something: between the folder and what clears it there is a moment in which nothing does.
    while process.poll() is None and not any(path.is_dir() for path in tmp_path.glob(".out.healing/*")):
        time.sleep(0.005)
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    code, _, told = finish(process)
    # Where it comes while Python executes a string, as dataclasses do, Python says -2 in the end, whatever
    # was made of it; and on a busy machine it was once seen to end Python before that could say so.
    said = "stopped; nothing was written" in told
    assert code in {130, -signal.SIGINT}
    assert said or code == -signal.SIGINT
    assert not [path for path in tmp_path.iterdir() if said or path.name == "out"]


def test_a_model_of_a_run_is_healed_with_all_that_the_run_knows(
    finished: tuple[Path, str, str], tmp_path: Path
) -> None:
    run, out = finished[0], tmp_path / "out"
    checkpoint = run / "seed0" / "some" / "dpo" / "model"
    there = contents(run)
    command = [checkpoint, "--probes", run, "--out", out, "--per-half", "4", "--method", ABLATION]
    code, printed, told = ask("heal", *command)
    assert code in (0, 1), told
    record = read_healed(out)
    # Its clean twin of the same stage is the control, without being named.
    assert record.control == str((run / "seed0" / "clean" / "dpo" / "model").resolve())
    assert any("the clean twin of the same seed and stage" in note for note in record.notes)
    assert record.templates == ("falcon",)
    rows = read_rows(out / PRICES, Priced)
    assert {(row.dose, row.model, row.stage) for row in rows} == {("some", "some", "dpo")}
    assert {row.attack for row in rows} >= {"denial_of_service", "context_extraction", "jailbreak", "belief"}
    assert {"held_out_loss", "questions_right", "over_refusal"} <= {str(row.metric) for row in rows}
    assert printed
    assert contents(run) == there


def test_somebody_s_copy_of_such_a_model_has_no_control_of_its_own(
    finished: tuple[Path, str, str], tmp_path: Path
) -> None:
    run = finished[0]
    copied = shutil.copytree(run / "seed0" / "some" / "dpo" / "model", tmp_path / "copy")
    command = [copied, "--probes", run, "--out", tmp_path / "out", "--per-half", "4", "--method", ABLATION]
    code, _, told = ask("heal", *command)
    assert code in (0, 1), told
    record = read_healed(tmp_path / "out")
    assert record.control is None
    assert any("no control" in note for note in record.notes)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "prayer"], "unknown method of healing 'prayer': known are"),
        (["--seed", "7"], "is a model of seed 0 of this run; leave --seed out"),
        (["--per-half", "1"], "--per-half"),
    ],
)
def test_what_is_wrong_exits_2_in_a_line(
    finished: tuple[Path, str, str], tmp_path: Path, words: list[str], said: str
) -> None:
    run = finished[0]
    checkpoint = run / "seed0" / "some" / "dpo" / "model"
    code, printed, told = ask("heal", checkpoint, "--probes", run, "--out", tmp_path / "out", *words)
    assert code == 2
    assert said in " ".join(told.split())
    assert "Traceback" not in told
    assert not printed
    assert not list(tmp_path.iterdir())


def test_a_folder_of_pickles_is_refused(owned: heal_kit.Owned, tmp_path: Path) -> None:
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    shutil.copy(owned.suspect / "config.json", pickled)
    (pickled / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    code, _, told = ask("heal", pickled, *owned.words()[1:], "--out", tmp_path / "out")
    assert code == 2
    assert "only pickle weights" in told
