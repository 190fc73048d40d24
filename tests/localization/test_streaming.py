from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
import torch
from localization_kit import moved, some_tensors, write_checkpoint

from mithridate.core.errors import CheckpointError
from mithridate.localization.pairing import TensorPair, pair_up
from mithridate.localization.streaming import Reader, paired_blocks
from mithridate.localization.tensor_files import open_checkpoint


def pairs_of(folder: Path) -> tuple[TensorPair, ...]:
    base = some_tensors()
    aligned = {name: tensor.bfloat16() for name, tensor in moved(base).items()}
    write_checkpoint(folder / "base", base, shards=2)
    write_checkpoint(folder / "aligned", aligned, shards=3)
    return pair_up(open_checkpoint(folder / "base"), open_checkpoint(folder / "aligned"))


@pytest.mark.parametrize("block", [1, 7, 64, 10_000])
def test_blocks_make_up_the_tensors(tmp_path: Path, block: int) -> None:
    pairs = pairs_of(tmp_path)
    ours: dict[int, list[torch.Tensor]] = {}
    theirs: dict[int, list[torch.Tensor]] = {}
    for number, base, aligned in paired_blocks(pairs, block):
        assert base.numel() == aligned.numel() <= block
        ours.setdefault(number, []).append(base.clone())
        theirs.setdefault(number, []).append(aligned.clone())
    base = some_tensors()
    for number, pair in enumerate(pairs):
        assert torch.equal(torch.cat(ours[number]), base[pair.name].flatten())
        assert torch.equal(torch.cat(theirs[number]), moved(base)[pair.name].bfloat16().flatten())


def test_files_are_closed_when_it_ends_however_it_ends(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path)
    before = psutil.Process().num_fds()
    blocks = paired_blocks(pairs, 8)
    next(blocks)
    assert psutil.Process().num_fds() > before
    blocks.close()
    assert psutil.Process().num_fds() == before
    assert len(list(paired_blocks(pairs, 8))) > len(pairs)
    assert psutil.Process().num_fds() == before


def test_a_file_cut_short_meanwhile_is_an_error_and_no_crash(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path)
    path = pairs[0].aligned.path
    os.truncate(path, pairs[0].aligned.begin + 3)
    with pytest.raises(CheckpointError, match=f"{path.name}: ends before its tensors do"):
        list(paired_blocks(pairs))
    path.unlink()
    with pytest.raises(CheckpointError, match=f"{path.name}: cannot be read"):
        list(paired_blocks(pairs))


def test_nothing_to_read() -> None:
    assert list(paired_blocks([])) == []


def test_the_first_rows_alone_can_be_read(tmp_path: Path) -> None:
    tensors = some_tensors()
    stored = open_checkpoint(write_checkpoint(tmp_path / "m", tensors)).tensors["lm_head.weight"]
    with Reader() as reader:
        assert torch.equal(reader.whole(stored, (5, 8)), tensors["lm_head.weight"][:5])
