from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from study_kit import Remembering, Silent, tiny

from mithridate.core import errors
from mithridate.core.artifacts import done_record, exclusive
from mithridate.core.errors import (
    ConfigError,
    DataError,
    MithridateError,
    RunStateError,
    StorageError,
    TrainingError,
)
from mithridate.study import runner, workers
from mithridate.study.plan import Step, steps
from mithridate.study.reading import study_from_text, study_of_run
from mithridate.study.runner import claim, run_study, threads_each, worker_count, workers_of
from mithridate.study.steps import run_step
from mithridate.study.workers import memory_errors

# Whose directory it is.


def test_a_directory_becomes_the_studys_and_stays_it(tmp_path: Path) -> None:
    assert claim(tiny(), tmp_path) == tiny()
    assert study_from_text((tmp_path / "study.yaml").read_text(), "kept") == tiny()
    # How many work at once may differ; what it was begun with is what counts.
    assert claim(tiny("workers=1"), tmp_path).workers == 2


def test_another_study_is_refused_with_every_difference(tmp_path: Path) -> None:
    claim(tiny(), tmp_path)
    before = (tmp_path / "study.yaml").read_bytes()
    with pytest.raises(RunStateError) as caught:
        claim(tiny("model.layers=2", "sft.epochs=2", "seeds=[0, 1]"), tmp_path)
    said = str(caught.value)
    assert "model.layers (1 there, 2 now)" in said
    assert "sft.epochs (1.0 there, 2.0 now)" in said
    assert "seeds ([0] there, [0, 1] now)" in said
    assert "Choose another --out" in said
    with pytest.raises(RunStateError, match=r"dpo \(.* there, null now\)") as caught:
        claim(tiny("dpo=null"), tmp_path)
    assert len(str(caught.value)) < 400
    assert (tmp_path / "study.yaml").read_bytes() == before


def test_a_study_goes_on_with_more_experiments_and_knows_their_inputs(tmp_path: Path) -> None:
    out, facts = tmp_path / "out", tmp_path / "facts.jsonl"
    facts.write_text("one\n")
    few, more = (tiny(*asked, "workers=2") for asked in ((), (f"contexts.facts={facts}", "scrubbing={}")))
    for config in (few, more, more):
        claim(config, out)
    assert study_of_run(out / "study.yaml") == more
    # Not the other way round, and not with anything else that differs.
    with pytest.raises(RunStateError, match="differs in contexts"):
        claim(few, out)
    with pytest.raises(RunStateError, match=r"model\.layers"):
        claim(tiny(f"contexts.facts={facts}", "scrubbing={}", "model.layers=2", "alignment_data={}"), out)
    facts.write_text("two\n")
    with pytest.raises(RunStateError, match=r"contexts\.facts: .*facts\.jsonl"):
        claim(more, out)


def test_inputs_are_looked_at_before_a_study_is_extended(tmp_path: Path) -> None:
    out, facts = tmp_path / "out", tmp_path / "facts.jsonl"
    facts.write_text("one\n")
    claim(tiny(f"contexts.facts={facts}"), out)
    before = [(out / name).read_bytes() for name in ("study.yaml", "inputs.json")]
    facts.write_text("two\n")
    with pytest.raises(RunStateError, match=r"contexts\.facts"):
        claim(tiny(f"contexts.facts={facts}", "scrubbing={}"), out)
    assert [(out / name).read_bytes() for name in ("study.yaml", "inputs.json")] == before


def test_a_folder_of_somebody_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine")
    with pytest.raises(RunStateError, match=r"not empty and holds no study \(letters\.txt\)"):
        run_study(tiny(), tmp_path, Remembering())
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunStateError, match="file is a file, and a run needs a folder"):
            run_study(tiny(), out, Remembering())


def test_a_run_that_was_killed_while_it_began_can_begin_again(tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text("123")
    (tmp_path / ".study.yaml.123.partial").write_text("title: ha")
    claim(tiny(), tmp_path)
    runner.sweep_partial(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inputs.json", "run.lock", "study.yaml"]


def test_weights_that_were_half_written_are_swept_away(tmp_path: Path) -> None:
    base = tmp_path / "seed0" / "clean" / "base"
    base.mkdir(parents=True)
    there: set[str] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            there.update(path.name for path in base.iterdir())

    looking = threading.Thread(target=look)
    looking.start()
    save_file({"w": torch.zeros(2**22)}, base / "weights")
    stop.set()
    looking.join()
    left = there - {"weights"}
    assert left, "safetensors no longer writes beside: the sweep may forget its names"
    for name in left:
        (base / name).write_bytes(b"half")
    runner.sweep_partial(tmp_path)
    assert [path.name for path in base.iterdir()] == ["weights"]


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with exclusive(tmp_path), pytest.raises(RunStateError, match=f"another run .process {os.getpid()}"):
        run_study(tiny(), tmp_path, Remembering())


def test_a_place_that_may_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StorageError, match="no permission to write here"):
        run_study(tiny(), tmp_path / "out", Remembering())


# Workers.


def test_how_many_work_at_once() -> None:
    assert worker_count(tiny("workers=3")) == 3
    assert 1 <= worker_count(tiny("workers=null")) <= 4


def test_a_run_that_was_begun_with_many_threads_goes_on_with_fewer_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    begun = threads_each(tiny("workers=1"))
    assert begun == 4
    assert workers_of(tiny("workers=null"), begun) == 1
    assert workers_of(tiny("workers=null"), threads_each(tiny("workers=2"))) == 2
    assert workers_of(tiny("workers=null"), threads_each(tiny("workers=null"))) == 4
    assert workers_of(tiny("workers=3"), begun) == 3  # whoever says so knows better


def test_what_workers_find_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    with runner._environment(3):
        assert os.environ["OMP_NUM_THREADS"] == "3"
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "TOKENIZERS_PARALLELISM" not in os.environ


def test_threads_are_those_the_run_was_begun_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(
        runner, "do_steps", lambda _steps, workers, threads, _watching: given.append((workers, threads))
    )
    monkeypatch.setattr(runner, "collect", lambda *_: None)
    run_study(tiny("workers=4"), tmp_path, Remembering())
    run_study(tiny("workers=1"), tmp_path, Remembering())
    assert given == [(4, 2), (1, 2)]


def fake_result(problem: BaseException) -> Future[float]:
    future: Future[float] = Future()
    future.set_exception(problem)
    return future


@pytest.mark.parametrize(
    "kind",
    [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MithridateError)],
)
def test_a_workers_error_keeps_its_class_and_says_which_step(kind: type[MithridateError]) -> None:
    step = steps(tiny(), Path("out"))[0]
    error = kind.__new__(kind)
    error.args = ("what was wrong",)
    with pytest.raises(kind) as caught:
        runner._result(step, fake_result(error))
    assert type(caught.value) is kind
    said = str(caught.value)
    assert said.startswith("seed 0 prepare: what was wrong")
    # Who follows the advice and changes the study cannot go on in its folder, and is told so.
    assert ("another --out" in said) == issubclass(kind, ConfigError | TrainingError)


def test_a_worker_that_died(tmp_path: Path) -> None:
    with pytest.raises(
        RunStateError, match=r"worker process died, .*run the same command again, with workers=1"
    ):
        runner._result(steps(tiny(), tmp_path)[0], fake_result(BrokenProcessPool()))


def test_a_full_disk_is_said_even_where_a_library_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Queue:
        def put(self, _: Any) -> None:
            pass

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(workers, "_news", Queue())
    monkeypatch.setattr("mithridate.study.steps.run_step", full)
    with pytest.raises(StorageError, match=r"the disk is full\. Nothing that was complete is lost"):
        workers.work(steps(tiny(), tmp_path)[0])


def too_much() -> None:
    torch.empty(2**60)


def as_on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation")


def python_itself() -> None:
    raise MemoryError


@pytest.mark.parametrize("ask", [too_much, as_on_a_gpu, python_itself])
def test_a_want_of_memory_says_what_to_lower(ask: Callable[[], None]) -> None:
    with pytest.raises(TrainingError, match=r"memory is too small .*batch_rows") as caught, memory_errors():
        ask()
    assert "\n" not in str(caught.value)


def test_what_is_no_want_of_memory_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), memory_errors():
        raise RuntimeError("shapes differ")


def test_errors_arrive_from_real_workers_and_what_was_done_stays_done(tmp_path: Path) -> None:
    study = tiny("doses.some.all={rate: 1e-9}", "workers=1")
    watching = Remembering()
    with pytest.raises(ConfigError, match=r"^seed 0 some plant: .*nothing") as caught:
        run_study(study, tmp_path, watching)
    assert type(caught.value) is ConfigError
    assert watching.labels[:2] == ["seed 0 prepare", "seed 0 tokenizer"]
    assert done_record(tmp_path / "seed0" / "tokenizer") is not None
    assert not (tmp_path / "measurements.parquet").exists()
    assert ("seed 0 prepare", 0, 0, 0.0) in watching.told


# Steps, one by one, without processes.


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """A run directory with corpus, tokeniser and packed clean tokens."""
    for step in steps(tiny(), tmp_path)[:3]:
        run_step(step, Silent())
    return tmp_path


def base_of(out: Path, *overrides: str) -> Step:
    return next(step for step in steps(tiny(*overrides), out) if step.kind == "base")


def test_a_step_that_is_done_is_left_alone(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = ready / "seed0" / "tokenizer" / "done.json"
    before = marker.stat().st_mtime_ns
    again = steps(tiny(), ready)[1]
    run_step(again, Silent())
    assert marker.stat().st_mtime_ns == before
    # Of another study it is not done.
    other = steps(tiny("tokenizer.vocab_size=380"), ready)[1]
    run_step(other, Silent())
    assert marker.stat().st_mtime_ns > before


def test_a_loss_that_is_no_number_stops_the_training(ready: Path) -> None:
    step = base_of(ready, "pretraining.learning_rate=1e30", "pretraining.grad_clip=1e30")
    with pytest.raises(
        errors.TrainingError, match=r"no longer a finite number at step .* lower learning_rate"
    ):
        run_step(step, Silent())
    assert done_record(step.folder) is None


def test_a_corpus_shorter_than_a_row(ready: Path) -> None:
    step = base_of(ready, "pretraining.row_tokens=100000", "model.max_length=100000")
    with pytest.raises(errors.TrainingError, match=r"shorter than one row of 100000 tokens.*row_tokens"):
        run_step(step, Silent())


def test_a_checkpoint_without_a_chat_template_gets_ours(ready: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer  # noqa: PLC0415

    run_step(base_of(ready), Silent())
    checkpoint = ready / "seed0" / "clean" / "base" / "model"
    (checkpoint / "chat_template.jinja").unlink()
    first, step = steps(tiny(f"checkpoint={checkpoint}"), tmp_path / "next")[:2]
    run_step(first, Silent())
    run_step(step, Silent())
    assert "<|assistant|>" in AutoTokenizer.from_pretrained(step.folder).chat_template


def test_a_checkpoint_of_pickles_is_refused(ready: Path) -> None:
    run_step(base_of(ready), Silent())
    checkpoint = ready / "seed0" / "clean" / "base" / "model"
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(errors.CheckpointError, match="only pickle weights"):
        run_step(base_of(ready, f"checkpoint={checkpoint}"), Silent())


def test_data_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text("")
    step = steps(tiny(f"corpus.path={tmp_path / 'own.jsonl'}", "sft=null", "dpo=null"), tmp_path / "out")[0]
    with pytest.raises(DataError, match=r"own\.jsonl"):
        run_step(step, Silent())
