from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from study_kit import tiny, tokenizer_with

from mithridate.core.errors import TrainingError
from mithridate.study import estimate as module
from mithridate.study.estimate import estimate


@pytest.mark.parametrize("bf16", [True, False])
def test_it_times_the_precision_that_training_would_use(bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    real = torch.autocast

    def watched(device: str, dtype: torch.dtype, *, enabled: bool) -> torch.autocast:
        asked.append(enabled)
        return real(device, dtype, enabled=enabled)

    monkeypatch.setattr(module, "uses_bf16", lambda precision, _: asked.append(precision) or bf16)
    monkeypatch.setattr(torch, "autocast", watched)
    estimate(tiny())
    assert asked[0] == "auto"
    assert set(asked[1:]) == {bf16}


def test_a_gpu_is_waited_for_before_the_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: told.append(f"waited for {device}"))
    monkeypatch.setattr(module.time, "perf_counter", lambda: told.append("read the clock") or 1.0)
    module._time_on(torch.device("cpu"))
    module._time_on(torch.device("cuda"))
    assert told == ["read the clock", "waited for cuda", "read the clock"]


def test_every_step_is_timed_from_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[torch.device] = []
    monkeypatch.setattr(module, "_time_on", lambda device: read.append(device) or float(len(read)))
    estimate(tiny())
    assert len(read) == 2 * module._STEPS


def test_models_share_a_gpu_and_not_its_speed() -> None:
    assert module._side_by_side(3, torch.device("cuda")) == 1
    assert module._side_by_side(3, torch.device("cpu")) == 3


def test_more_workers_take_less_time_on_a_cpu_and_not_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_tokens_per_second", lambda *_, **__: 1000.0)

    def seconds(workers: int) -> float:
        return estimate(tiny(f"workers={workers}")).seconds

    assert seconds(1) == pytest.approx(3 * seconds(3))
    monkeypatch.setattr(module, "default_device", lambda: torch.device("cuda"))
    assert seconds(1) == seconds(3)


def test_batches_that_no_memory_holds() -> None:
    with pytest.raises(TrainingError, match=r"memory is too small .* lower workers, batch_rows"):
        estimate(tiny("pretraining.batch_rows=1000000000000000"))


def test_controls_in_both_templates_cost_more() -> None:
    both, one = (
        module._seconds(tiny(f"evaluation.controls_in_both_templates={value}"), 1000, 1000.0)
        for value in ("true", "false")
    )
    assert both > one


def test_the_vocabulary_is_that_of_the_tokeniser_that_is_named(tmp_path: Path) -> None:
    sizes = [
        module._sizes(tiny(*named)) for named in ([], [f"tokenizer.path={tokenizer_with(tmp_path, None)}"])
    ]
    assert sizes[0][0] == 400
    assert sizes[1][0] < 340
    assert sizes[1][1] < sizes[0][1]
