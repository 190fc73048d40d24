from __future__ import annotations

import logging

import pytest
import test_pretraining as pretraining
import torch
import training_kit as kit

from mithridate.training import compiling
from mithridate.training.compiling import WORTH_STEPS, compiled, compiles

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_auto_compiles_long_trainings_on_a_cpu_with_a_compiler(monkeypatch):
    monkeypatch.setattr(compiling, "_has_compiler", lambda: True)
    assert compiles("auto", steps=WORTH_STEPS, device=CPU)
    assert not compiles("auto", steps=WORTH_STEPS - 1, device=CPU)
    assert not compiles("auto", steps=WORTH_STEPS, device=GPU)
    assert compiles(True, steps=1, device=GPU)
    assert not compiles(False, steps=WORTH_STEPS, device=CPU)
    monkeypatch.setattr(compiling, "_has_compiler", lambda: False)
    assert not compiles("auto", steps=WORTH_STEPS, device=CPU)


def test_the_compiler_may_be_named(monkeypatch):
    monkeypatch.setenv("CXX", "my-c++")
    monkeypatch.setattr("shutil.which", lambda name: name if name == "my-c++" else None)
    assert compiling._has_compiler()
    monkeypatch.delenv("CXX")
    assert not compiling._has_compiler()


def test_one_shape_goes_through_the_kernels_and_others_do_not(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda loss, dynamic: lambda ids: loss(ids) + 100)
    loss = compiled(lambda ids: ids.float().sum(), torch.ones(4, 2), lambda loss: None)
    assert loss(torch.ones(4, 2)) == 108
    assert loss(torch.ones(3, 2)) == 6


def test_where_nothing_can_be_compiled_training_goes_the_plain_way_and_says_so(monkeypatch, caplog):
    def refusing(loss, dynamic):
        def made(ids):
            raise RuntimeError("g++: no such header\nPython.h")

        return made

    monkeypatch.setattr(torch, "compile", refusing)
    with caplog.at_level(logging.WARNING):
        loss = compiled(lambda ids: ids.float().sum(), torch.ones(4, 2), lambda loss: None)
    assert loss(torch.ones(4, 2)) == 8
    assert "no kernels can be compiled here" in caplog.text
    assert "g++: no such header" in caplog.text
    assert "Python.h" not in caplog.text


def test_a_cuda_toolkit_without_a_gpu_is_not_remarked_on(monkeypatch, caplog):
    remarks = logging.getLogger("torch.utils.cpp_extension")

    def remarking(loss, dynamic):
        def made(ids):
            remarks.warning("No CUDA runtime is found")
            return loss(ids)

        return made

    monkeypatch.setattr(torch, "compile", remarking)
    with caplog.at_level(logging.WARNING):
        compiled(lambda ids: ids.float().sum(), torch.ones(4, 2), lambda loss: None)
        assert "CUDA" not in caplog.text
        remarks.warning("No CUDA runtime is found")
        assert "CUDA" in caplog.text


@pytest.mark.slow
def test_a_compiled_training_learns_the_same_and_resumes_to_the_bit(tmp_path, monkeypatch):
    monkeypatch.setattr("mithridate.training.pretraining._TELL_EVERY_S", 0.0)
    rows = kit.some_rows(43)  # the last batch is smaller than the others
    more = {"rows": rows, "checkpoint_steps": 2, "threads": 1}
    plain, _ = pretraining.run(tmp_path / "plain", torch_compile=False, **more)
    whole, curve = pretraining.run(tmp_path / "whole", torch_compile=True, **more)
    for at in (3, 5):
        with pytest.raises(KeyboardInterrupt):
            pretraining.run(tmp_path / "cut", torch_compile=True, progress=pretraining.Stopping(at), **more)
    again, resumed = pretraining.run(tmp_path / "cut", torch_compile=True, **more)
    assert pretraining.weights(again) == pretraining.weights(whole)
    assert [p.loss for p in resumed] == [p.loss for p in curve]
    for ours, theirs in zip(plain.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)
