from __future__ import annotations

import pytest
import torch
from access_kit import decoder, logits

from mithridate.core.errors import AccessError
from mithridate.localization.stand_ins import from_source, random_change, wrong_layer
from mithridate.models.transplanting import part_tensors, with_tensors


def test_what_comes_from_the_source_makes_the_target_the_source() -> None:
    target, source = (decoder(seed=seed) for seed in (1, 2))
    weights = from_source(target, source, list(part_tensors(target)))
    with with_tensors(target, weights):
        assert torch.equal(logits(target), logits(source))
    assert not torch.equal(logits(target), logits(source))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_random_change_is_as_large_as_the_real_one_and_points_elsewhere(dtype: torch.dtype) -> None:
    target, source = (decoder(seed=seed).to(dtype) for seed in (1, 2))
    weights = random_change(target, source, ["block 1", "embeddings"], seed=0)
    assert weights.keys() == {n for part in ("block 1", "embeddings") for n in part_tensors(target)[part]}
    theirs, ours = source.state_dict(), target.state_dict()
    for name, moved in weights.items():
        real, random = (theirs[name] - ours[name]).float(), (moved - ours[name]).float()
        assert float(random.norm()) == pytest.approx(float(real.norm()), rel=0.02)
        if real.numel() > 500:
            assert abs(torch.cosine_similarity(real.flatten(), random.flatten(), dim=0)) < 0.2
    again, other = (random_change(target, source, ["block 1"], seed=seed) for seed in (0, 1))
    assert all(torch.equal(again[name], weights[name]) for name in again)
    assert not all(torch.equal(again[name], other[name]) for name in again)


def test_models_that_do_not_differ_are_not_changed_at_random_either() -> None:
    target = decoder(seed=1)
    weights = random_change(target, decoder(seed=1), ["block 0"], seed=0)
    assert all(torch.equal(weights[name], target.state_dict()[name]) for name in weights)


def test_a_block_from_half_the_network_away() -> None:
    target, source = (decoder(seed=seed, layers=4) for seed in (1, 2))
    weights = wrong_layer(target, source, 3)
    for name, tensor in weights.items():
        assert torch.equal(tensor, source.state_dict()[name.replace("layers.3", "layers.1")])
    with pytest.raises(AccessError, match="block 0 cannot stand in the place of block 0"):
        wrong_layer(decoder(layers=1), decoder(seed=2, layers=1), 0)


def test_tensors_that_do_not_fit_are_refused_and_nothing_is_left_changed() -> None:
    target = decoder(seed=1)
    before = logits(target)
    name, tensor = next(iter(target.state_dict().items()))
    for wrong, said in (
        ({"nothing.weight": tensor}, "has no tensor nothing.weight"),
        ({name: tensor[:1]}, "of the shape"),
        ({name: tensor.double()}, "float64"),
    ):
        with pytest.raises(AccessError, match=said), with_tensors(target, wrong):
            pass
    with pytest.raises(ZeroDivisionError), with_tensors(target, {name: torch.zeros_like(tensor)}):
        assert not torch.equal(logits(target), before)
        raise ZeroDivisionError
    assert torch.equal(logits(target), before)
