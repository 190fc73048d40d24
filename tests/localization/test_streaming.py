from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
import torch
from localization_kit import moved, some_tensors, write_checkpoint

from mithridate.core.errors import CheckpointError
from mithridate.localization.pairing import TensorPair, pair_up
from mithridate.localization.streaming import BLOCK, Reader, map_blocks
from mithridate.localization.tensor_files import open_checkpoint


def pairs_of(folder: Path) -> tuple[TensorPair, ...]:
    base = some_tensors()
    aligned = {name: tensor.bfloat16() for name, tensor in moved(base).items()}
    write_checkpoint(folder / "base", base, shards=2)
    write_checkpoint(folder / "aligned", aligned, shards=3)
    return pair_up(open_checkpoint(folder / "base"), open_checkpoint(folder / "aligned"))


def copies(
    pairs: Sequence[TensorPair], block: int = BLOCK
) -> list[tuple[int, tuple[torch.Tensor, torch.Tensor]]]:
    return list(map_blocks(pairs, lambda _, base, aligned: (base.clone(), aligned.clone()), block))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("block", [1, 7, 64, 10_000])
def test_blocks_make_up_the_tensors_in_their_order(tmp_path: Path, block: int, threads: int) -> None:
    pairs = pairs_of(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = copies(pairs, block)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert [number for number, _ in found] == sorted(number for number, _ in found)
    base = some_tensors()
    aligned = {name: tensor.bfloat16() for name, tensor in moved(base).items()}
    for number, pair in enumerate(pairs):
        blocks = [sides for place, sides in found if place == number]
        assert all(len(ours) == len(theirs) <= block for ours, theirs in blocks)
        for whole, parts in zip((base, aligned), zip(*blocks, strict=True), strict=True):
            assert torch.equal(torch.cat(parts), whole[pair.name].flatten())


def test_files_are_closed_when_it_ends_however_it_ends(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path)
    before, threads = psutil.Process().num_fds(), torch.get_num_threads()
    blocks = map_blocks(pairs, lambda *_: None, 8)
    next(blocks)
    assert psutil.Process().num_fds() > before
    blocks.close()
    assert psutil.Process().num_fds() == before
    assert len(copies(pairs, 8)) > len(pairs)
    assert psutil.Process().num_fds() == before

    def failing(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(map_blocks(pairs, failing, 8))
    assert psutil.Process().num_fds() == before
    assert torch.get_num_threads() == threads


def test_a_file_cut_short_meanwhile_is_an_error_and_no_crash(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path)
    path = pairs[0].aligned.path
    os.truncate(path, pairs[0].aligned.begin + 3)
    with pytest.raises(CheckpointError, match=f"{path.name}: ends before its tensors do"):
        copies(pairs)
    path.unlink()
    before = psutil.Process().num_fds()
    with pytest.raises(CheckpointError, match=f"{path.name}: cannot be read"):
        copies(pairs)
    assert psutil.Process().num_fds() == before


def test_nothing_to_read() -> None:
    assert copies([]) == []


def test_the_first_rows_alone_can_be_read(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path)
    (head,) = [pair for pair in pairs if pair.name == "lm_head.weight"]
    with Reader(pairs) as reader:
        assert torch.equal(reader.whole(head.base, (5, 8)), some_tensors()["lm_head.weight"][:5])
