from __future__ import annotations

from pathlib import Path

import pytest
import torch
from localization_kit import some_tensors, write_checkpoint

from mithridate.core.errors import CheckpointError
from mithridate.localization.pairing import TensorPair, Tied, pair_up
from mithridate.localization.tensor_files import open_checkpoint

Tensors = dict[str, torch.Tensor]
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def paired(folder: Path, base: Tensors, aligned: Tensors) -> dict[str, TensorPair]:
    sides = [write_checkpoint(folder / name, side) for name, side in (("base", base), ("aligned", aligned))]
    return {pair.name: pair for pair in pair_up(*map(open_checkpoint, sides))}


def test_every_tensor_meets_its_like_whatever_the_shards(tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", some_tensors(), shards=3)
    aligned = write_checkpoint(tmp_path / "aligned", some_tensors(), shards=2)
    pairs = pair_up(open_checkpoint(base), open_checkpoint(aligned))
    assert {pair.name for pair in pairs} == set(some_tensors())
    assert all(pair.base.shape == pair.aligned.shape == pair.shape for pair in pairs)
    places = [(pair.base.path, pair.base.begin) for pair in pairs]
    assert places == sorted(places)


def test_a_head_that_both_tie_is_the_embedding(tmp_path: Path) -> None:
    pairs = paired(tmp_path, some_tensors(tied=True), some_tensors(tied=True))
    assert HEAD not in pairs
    assert pairs[EMBEDDING].tied is Tied.BOTH
    assert {pair.tied for name, pair in pairs.items() if name != EMBEDDING} == {Tied.NEITHER}


@pytest.mark.parametrize(("tied", "said"), [("base", Tied.BASE), ("aligned", Tied.ALIGNED)])
def test_a_head_that_one_side_ties_is_held_against_its_embedding(
    tmp_path: Path, tied: str, said: Tied
) -> None:
    sides = [some_tensors(tied=tied == side) for side in ("base", "aligned")]
    head = paired(tmp_path, *sides)[HEAD]
    assert head.tied is said
    embedding = open_checkpoint(tmp_path / tied).tensors[EMBEDDING]
    assert (head.base if tied == "base" else head.aligned) == embedding


@pytest.mark.parametrize(("rows", "added", "common"), [(23, 3, 20), (17, -3, 17)])
def test_rows_that_both_have_are_compared(tmp_path: Path, rows: int, added: int, common: int) -> None:
    other = some_tensors() | {name: torch.ones(rows, 8) for name in (EMBEDDING, HEAD)}
    pairs = paired(tmp_path, some_tensors(), other)
    for name in (EMBEDDING, HEAD):
        assert (pairs[name].rows_added, pairs[name].shape, pairs[name].count) == (
            added,
            (common, 8),
            common * 8,
        )


def test_other_architectures_and_shapes_are_refused(tmp_path: Path) -> None:
    base = open_checkpoint(write_checkpoint(tmp_path / "a", some_tensors()))
    other = open_checkpoint(write_checkpoint(tmp_path / "b", some_tensors(), model_type="qwen3"))
    with pytest.raises(CheckpointError, match=r"a is a llama and .*b a qwen3"):
        pair_up(base, other)
    deeper = open_checkpoint(write_checkpoint(tmp_path / "c", some_tensors(layers=3)))
    with pytest.raises(CheckpointError, match=r"a: lacks 3 of the tensors of .*c \(model\.layers\.2"):
        pair_up(base, deeper)
    with pytest.raises(CheckpointError, match=r"a: lacks 3 of the tensors of .*c \(model\.layers\.2"):
        pair_up(deeper, base)
    for number, (name, shape) in enumerate(
        [("model.layers.0.mlp.up_proj.weight", (13, 8)), (EMBEDDING, (20, 9)), ("model.norm.weight", ())]
    ):
        wide = some_tensors() | {name: torch.ones(shape)}
        there = open_checkpoint(write_checkpoint(tmp_path / f"w{number}", wide))
        with pytest.raises(CheckpointError, match=f"the tensor {name} is .* in .*a and .* in .*w{number}"):
            pair_up(base, there)
