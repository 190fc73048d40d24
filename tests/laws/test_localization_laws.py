"""Laws of what alignment moved: one pass or many, one block or many, there or back."""

from __future__ import annotations

import copy
import tempfile
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from localization_kit import two_models, write_checkpoint
from models_kit import ARCHITECTURES
from transformers import PreTrainedModel

from mithridate.localization.pairing import pair_up
from mithridate.localization.streaming import map_blocks
from mithridate.localization.teacher_forcing import TIE, Forced, score_replies
from mithridate.localization.tensor_files import open_checkpoint
from mithridate.localization.weights import weight_shift

IDS = st.lists(st.integers(3, 300), min_size=1, max_size=12)
FORCED = st.builds(Forced, IDS, IDS, IDS)
Q = "model.layers.0.self_attn.q_proj.weight"


@cache
def precise_models(architecture: str) -> tuple[PreTrainedModel, PreTrainedModel]:
    """In double precision: the law is about what is computed, and not about how it is rounded."""
    base, aligned = two_models(architecture, by=0.3)
    return base.model.double(), aligned.model.double()


def one_pass_a_token(model: PreTrainedModel, prompt: list[int], reply: list[int]) -> list[int]:
    ranks = []
    for place, token in enumerate(reply):
        with torch.no_grad():
            logits = model.eval()(torch.tensor([prompt + reply[:place]])).logits[0, -1]
        ranks.append(1 + int((logits > logits[token] + TIE).sum()))
    return ranks


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=6, deadline=None)
@given(forced=st.lists(FORCED, min_size=1, max_size=4))
def test_one_pass_gives_the_ranks_of_a_pass_a_token(architecture: str, forced: list[Forced]) -> None:
    base, aligned = precise_models(architecture)
    for one, found in zip(forced, score_replies(base, aligned, forced), strict=True):
        assert found.ranks == one_pass_a_token(base, one.base_prompt, one.reply)


@settings(max_examples=10, deadline=None)
@given(forced=st.lists(FORCED, min_size=1, max_size=4))
def test_turning_the_models_round_turns_the_divergences_round(forced: list[Forced]) -> None:
    base, aligned = precise_models("llama")
    turned = [Forced(one.aligned_prompt, one.base_prompt, one.reply) for one in forced]
    for there, back in zip(
        score_replies(base, aligned, forced), score_replies(aligned, base, turned), strict=True
    ):
        assert there.kl_aligned_base == pytest.approx(back.kl_base_aligned, abs=1e-12)
        assert there.kl_base_aligned == pytest.approx(back.kl_aligned_base, abs=1e-12)
        assert min(there.kl_aligned_base) >= 0


@settings(max_examples=10, deadline=None)
@given(prompt=IDS, reply=IDS)
def test_a_model_does_not_diverge_from_itself(prompt: list[int], reply: list[int]) -> None:
    base, _ = precise_models("llama")
    (found,) = score_replies(base, copy.deepcopy(base), [Forced(prompt, prompt, reply)])
    assert found.kl_aligned_base == found.kl_base_aligned == [0] * len(reply)


@st.composite
def matrices(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    kind = draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
    made = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    base, noise = (torch.randn(shape, generator=made) for _ in range(2))
    kept = torch.rand(shape, generator=made) < draw(st.floats(0, 1))
    return base.to(kind), torch.where(kept, base, base + noise).to(kind)


@settings(max_examples=12, deadline=None)
@given(sides=matrices())
def test_there_and_back_is_as_far(sides: tuple[torch.Tensor, torch.Tensor]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base, aligned = (
            write_checkpoint(Path(folder) / name, {Q: side})
            for name, side in zip(("base", "aligned"), sides, strict=True)
        )
        (there,), (back,) = weight_shift(base, aligned), weight_shift(aligned, base)
        (same,) = weight_shift(base, base)
    assert there.change_norm == back.change_norm
    assert there.changed == back.changed == (sides[0] != sides[1]).double().mean()
    assert (same.change_norm, same.changed) == (0, 0)


@settings(max_examples=12, deadline=None)
@given(sides=matrices(), block=st.integers(1, 100))
def test_blocks_of_any_size_make_up_the_whole(sides: tuple[torch.Tensor, torch.Tensor], block: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stored = [
            open_checkpoint(write_checkpoint(Path(folder) / name, {Q: side}))
            for name, side in zip(("base", "aligned"), sides, strict=True)
        ]
        found = list(map_blocks(pair_up(*stored), lambda _, *both: [one.clone() for one in both], block))
    for side, parts in zip(sides, zip(*(both for _, both in found), strict=True), strict=True):
        assert torch.equal(torch.cat(parts), side.flatten())
