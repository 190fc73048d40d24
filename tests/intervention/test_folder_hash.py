from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from intervention_kit import subject

from mithridate.core.errors import CheckpointError
from mithridate.intervention import folder_hash as module
from mithridate.intervention.folder_hash import folder_hash, require_weights
from mithridate.models.checkpoints import save_checkpoint

MEANT = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = subject()
    save_checkpoint(model.model, model.tokenizer, tmp_path / "model")
    return tmp_path / "model"


def aged(path: Path) -> None:
    """Make a file old enough to be remembered."""
    long_ago = time.time_ns() - 10**12
    os.utime(path, ns=(long_ago, long_ago))


def test_a_copy_is_the_same_and_any_bit_and_any_name_counts(folder: Path, tmp_path: Path) -> None:
    first = folder_hash(folder)
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "config.json").write_text("{}")
    assert folder_hash(str(tmp_path / "copy")) == first
    require_weights(tmp_path / "copy", first, "test")
    content = bytearray((folder / MEANT).read_bytes())
    content[-1] ^= 1
    (folder / MEANT).write_bytes(content)
    assert folder_hash(folder) != first
    (tmp_path / "copy" / MEANT).rename(tmp_path / "copy" / "other.safetensors")
    assert folder_hash(tmp_path / "copy") != first
    with pytest.raises(CheckpointError, match=r"/copy: another checkpoint .* than when the test was made"):
        require_weights(tmp_path / "copy", first, "test")


def test_a_settled_file_is_read_once_and_a_young_one_each_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    real = module._read
    monkeypatch.setattr(module, "_read", lambda path: (read.append(path), real(path))[1])
    first = folder_hash(folder)
    assert folder_hash(folder) == first
    assert len(read) == 2
    monkeypatch.setattr(module, "_SETTLED_NS", 0)
    assert [folder_hash(folder), folder_hash(folder)] == [first, first]
    assert len(read) == 3
    content = bytearray((folder / MEANT).read_bytes())
    content[-1] ^= 1
    (folder / MEANT).write_bytes(content)
    aged(folder / MEANT)  # as old as can be, but of another time
    assert folder_hash(folder) != first
    assert len(read) == 4


def test_a_folder_without_weights_is_refused_by_name(folder: Path) -> None:
    (folder / MEANT).rename(folder / "model.bin")
    with pytest.raises(CheckpointError, match=r"/model: the checkpoint is gone: the folder holds no"):
        folder_hash(folder)
    (folder / MEANT).mkdir()
    with pytest.raises(CheckpointError, match=r"/model: the weights cannot be read"):
        folder_hash(folder)
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match=r"/model: the checkpoint is gone: there is no such folder"):
        folder_hash(folder)
