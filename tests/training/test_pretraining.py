from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import training_kit as kit
from safetensors import SafetensorError, safe_open

from mithridate.core.errors import CheckpointError, RunStateError, StorageError, TrainingError
from mithridate.training.checkpoint import RESUME_FILE, discard_resume
from mithridate.training.devices import gpu_name, uses_bf16
from mithridate.training.options import PretrainingOptions
from mithridate.training.pretraining import pretrain
from mithridate.training.progress import Silent

SMALL = {"batch_rows": 8, "row_tokens": 16, "log_every": 2, "checkpoint_seconds": None}


def options(**more):
    return PretrainingOptions(**{**SMALL, **more})


def weights(model) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


def run(folder: Path, *, rows=None, model=None, progress=None, **more):
    model = model or kit.tiny_model()
    rows = kit.some_rows() if rows is None else rows
    curve = pretrain(model, rows, options(**more), folder, report_progress=progress or Silent())
    return model, curve


class Stopping:
    """Stands for a kill between two steps: it breaks the run from within, after `at` reports."""

    def __init__(self, at: int) -> None:
        self.at = at

    def advance(self, stage, done, total, loss):
        if done >= self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("architecture", kit.ARCHITECTURES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_architecture_trains(architecture, precision, tmp_path):
    model = kit.tiny_model(architecture)
    before = weights(model)
    _, curve = run(tmp_path, model=model, tokens=2 * 8 * 16, precision=precision)
    assert weights(model) != before
    assert [point.step for point in curve] == [2]
    assert curve[0].tokens == 256
    assert 3 < curve[0].loss < 5
    assert not model.training
    assert model.config._attn_implementation == "sdpa"


def test_it_learns_what_it_is_shown(tmp_path):
    rows = np.tile(np.arange(16, dtype=np.uint16), (64, 1))
    _, curve = run(tmp_path, rows=rows, epochs=4.0, learning_rate=1e-2)
    assert curve[0].loss > 3
    assert curve[-1].loss < 0.5


def test_the_first_loss_is_the_cross_entropy_of_the_first_rows(tmp_path):
    model, rows = kit.tiny_model(), kit.some_rows(8)
    ids = torch.from_numpy(rows.astype(np.int64))
    expected = model(input_ids=ids, labels=ids).loss.item()
    _, curve = run(tmp_path, model=model, rows=rows, precision="fp32")
    assert curve[0].loss == pytest.approx(expected, rel=1e-5)


def test_accumulation_changes_memory_and_not_the_result(tmp_path):
    whole, _ = run(tmp_path / "a", precision="fp32")
    parts, _ = run(tmp_path / "b", precision="fp32", accumulation=4)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_the_callers_random_state_and_threads_are_left_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    model = kit.tiny_model()
    torch.manual_seed(5)
    run(tmp_path, model=model, tokens=256, threads=1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_stopped_anywhere_and_resumed_it_ends_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("mithridate.training.pretraining._TELL_EVERY_S", 0.0)
    more = {"epochs": 2.0, "checkpoint_steps": 3, "log_every": 4}
    model = kit.tiny_model(attention_dropout=0.1)
    whole, curve = run(tmp_path / "whole", model=model, **more)
    for at in (4, 7, 8):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "cut", model=kit.tiny_model(attention_dropout=0.1), progress=Stopping(at), **more)
    again, resumed = run(tmp_path / "cut", model=kit.tiny_model(attention_dropout=0.1), **more)
    assert weights(again) == weights(whole)
    assert [(p.step, p.tokens, p.loss) for p in resumed] == [(p.step, p.tokens, p.loss) for p in curve]


_LONG = {"epochs": 40.0, "checkpoint_steps": 5, "log_every": 50, "threads": 1}

_CHILD = """
import sys
from pathlib import Path
import test_pretraining as tests

class Telling:
    def advance(self, stage, done, total, loss):
        print(done, flush=True)

import mithridate.training.pretraining as loop
loop._TELL_EVERY_S = 0.0
tests.run(Path(sys.argv[1]), progress=Telling(), **tests._LONG)
"""


def test_killed_with_sigkill_and_run_again_it_ends_with_the_same_bytes(tmp_path):
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
    )
    for line in child.stdout:
        if int(line) >= 33:
            child.send_signal(signal.SIGKILL)
            break
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    with safe_open(tmp_path / RESUME_FILE, framework="pt") as handle:
        assert 30 <= json.loads(handle.metadata()["mithridate"])["step"] < 200
    again, resumed = run(tmp_path, **_LONG)
    whole, curve = run(tmp_path / "whole", **_LONG)
    assert weights(again) == weights(whole)
    assert [(p.step, p.loss) for p in resumed] == [(p.step, p.loss) for p in curve]


def test_a_finished_run_run_again_trains_nothing_more(tmp_path):
    first, curve = run(tmp_path)
    started = time.monotonic()
    second, again = run(tmp_path)
    assert time.monotonic() - started < 5
    assert again == curve
    assert weights(first) == weights(second)
    discard_resume(tmp_path)
    assert not (tmp_path / RESUME_FILE).exists()


def test_the_resume_file_is_plain_safetensors_with_the_optimiser_in_it(tmp_path):
    run(tmp_path)
    with safe_open(tmp_path / RESUME_FILE, framework="pt") as handle:
        names = set(handle.keys())
    assert any(name.startswith("optimizer.exp_avg_sq.") for name in names)
    assert [path.name for path in tmp_path.iterdir()] == [RESUME_FILE]


def test_another_runs_resume_file_is_refused_by_name_of_the_difference(tmp_path):
    run(tmp_path)
    with pytest.raises(RunStateError, match=r"learning_rate \(0\.003 there, 0\.01 now\)"):
        run(tmp_path, learning_rate=0.01)
    with pytest.raises(RunStateError, match="differs in rows"):
        run(tmp_path, rows=kit.some_rows(seed=1))
    with pytest.raises(RunStateError, match="initial_weights"):
        run(tmp_path, model=kit.tiny_model("qwen3"))


def test_a_torn_resume_file_is_an_error_that_says_what_to_do(tmp_path):
    run(tmp_path)
    file = tmp_path / RESUME_FILE
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="Delete it"):
        run(tmp_path)


class _Poisoned:
    """Rows that ruin the model's loss from one step on, by way of its weights."""

    def __init__(self, model, rows, at: int) -> None:
        self.model, self.rows, self.at = model, rows, at

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, which):
        if which.start >= self.at and which.stop - which.start > 1:
            with torch.no_grad():
                next(iter(self.model.parameters())).fill_(float("nan"))
        return self.rows[which]


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_good_state(tmp_path):
    model = kit.tiny_model()
    rows = _Poisoned(model, kit.some_rows(), at=24)
    with pytest.raises(TrainingError, match=r"step 4 of 5 \(learning rate .*step 3, is kept"):
        run(tmp_path, rows=rows, model=model, checkpoint_steps=1)
    with safe_open(tmp_path / RESUME_FILE, framework="pt") as handle:
        assert all(handle.get_tensor(name).isfinite().all() for name in handle.keys())  # noqa: SIM118


def test_a_gradient_that_is_not_a_number_is_noticed_in_its_own_step(tmp_path):
    model = kit.tiny_model()
    next(iter(model.parameters())).register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(TrainingError, match="at step 1 of"):
        run(tmp_path, model=model)


@pytest.mark.parametrize(
    ("rows", "more", "words"),
    [
        (kit.some_rows(0), {}, "not one row"),
        (kit.some_rows(8, 12), {}, "hold 12 tokens each"),
        (kit.some_rows(8, vocabulary=400), {}, "knows only 64"),
        (kit.some_rows(8, 512), {"row_tokens": 512}, "has 256 positions"),
    ],
)
def test_rows_that_do_not_fit_are_refused(rows, more, words, tmp_path):
    with pytest.raises(TrainingError, match=words):
        run(tmp_path, rows=rows, **more)


def test_a_full_disk_is_a_storage_error_and_the_old_state_is_kept(tmp_path, monkeypatch):
    run(tmp_path, tokens=256)
    before = (tmp_path / RESUME_FILE).read_bytes()

    def full(*_args, **_kwargs):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("mithridate.training.checkpoint.save_file", full)
    (tmp_path / "other").mkdir()
    with pytest.raises(StorageError, match="disk is full"):
        run(tmp_path / "other", tokens=256)
    assert (tmp_path / RESUME_FILE).read_bytes() == before
    assert not list((tmp_path / "other").iterdir())


def test_bf16_only_where_asked_or_native():
    cpu = torch.device("cpu")
    assert uses_bf16("bf16", cpu)
    assert not uses_bf16("fp32", cpu)
    assert isinstance(uses_bf16("auto", cpu), bool)


def test_a_gpu_has_a_name_and_a_cpu_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the maker's name of {device}")
    assert gpu_name(torch.device("cpu")) is None
    assert gpu_name(torch.device("cuda", 0)) == "the maker's name of cuda:0"
