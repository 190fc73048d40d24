from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from access_kit import DECODERS, batch, decoder, hooks_of, logits, refused, stories
from torch import nn

from mithridate.models.access import parts_of
from mithridate.models.hooks import capture
from mithridate.models.sites import ENTRY, Part, Site


@pytest.mark.parametrize("architecture", DECODERS)
def test_the_parts_of_a_decoder_are_found(architecture: str) -> None:
    model = decoder(architecture)
    parts = parts_of(model)
    assert len(parts.blocks) == 3
    assert parts.embeddings is model.get_input_embeddings()
    assert parts.head is model.get_output_embeddings()
    assert parts.final_norm is not None
    for block in parts.blocks:
        assert block.attention is not None
        assert block.mlp is not None
        assert "Attention" in type(block.attention.module).__name__
        assert "MLP" in type(block.mlp.module).__name__
        assert not (block.overwritten or block.attention.overwritten or block.mlp.overwritten)
    assert all("Norm" in type(norm).__name__ for block in parts.blocks for norm in block.norms)
    assert len(parts.blocks[0].norms) == {"gemma2": 4}.get(architecture, 2)


@pytest.mark.parametrize("architecture", [*DECODERS, "gemma", "gemma3_text", "gpt2", "falcon", "mixtral"])
def test_each_block_adds_its_attention_and_its_mlp_to_the_stream(architecture: str) -> None:
    model = decoder(architecture)
    with capture(model, parts_of(model).sites()) as seen:
        logits(model)
    before = seen[ENTRY]
    for layer in range(3):
        after = seen[Site(layer, Part.RESIDUAL)]
        added = seen[Site(layer, Part.ATTENTION)] + seen[Site(layer, Part.MLP)]
        torch.testing.assert_close(before + added, after, rtol=1e-5, atol=1e-5 * float(after.abs().max()))
        before = after


def test_a_norm_behind_a_branch_belongs_to_it() -> None:
    for architecture, behind in (("llama", False), ("gpt_neox", False), ("olmo2", True), ("gemma2", True)):
        for block in parts_of(decoder(architecture)).blocks:
            for branch in (block.attention, block.mlp):
                assert branch is not None
                assert (branch.output is not branch.module) is behind
                assert (branch.output in block.norms) is behind


def test_branches_that_a_model_changes_in_place_are_known_and_copied() -> None:
    model = decoder("falcon", overrides={"parallel_attn": True})
    parts = parts_of(model)
    site = Site(0, Part.MLP)
    assert parts.writer(site).overwritten
    block = parts.blocks[0]
    assert block.mlp is not None
    clones = []
    handle = block.mlp.module.register_forward_hook(lambda _, __, made: clones.append(made.clone()))
    with capture(model, [site]) as seen:
        logits(model)
    handle.remove()
    assert torch.equal(seen[site], clones[0])


def test_sites_go_from_the_bottom_up() -> None:
    parts = parts_of(decoder(layers=2))
    assert [str(site) for site in parts.sites()] == [
        "entry of block 0",
        *(f"{part} of block {layer}" for layer in (0, 1) for part in ("attention", "mlp", "residual")),
    ]
    assert parts.sites(Part.RESIDUAL) == [Site(0, Part.RESIDUAL), Site(1, Part.RESIDUAL)]
    assert parts.sites(Part.ENTRY) == [ENTRY]


def test_places_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="residual of block 1"):
        Site(2, Part.ENTRY)
    with pytest.raises(ValueError, match="counted from 0"):
        Site(-1, Part.MLP)
    with refused("the blocks 0 to 2, so there is no mlp of block 3"):
        parts_of(decoder()).writer(Site(3, Part.MLP))


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("bloom", "is not what it adds to the residual stream"),
        ("opt", "must be an MLP, and 2 may be"),
        ("mamba", "must be an MLP, and 0 may be"),
    ],
)
def test_where_branches_cannot_be_told_the_stream_still_can(architecture: str, said: str) -> None:
    model = decoder(architecture)
    with refused(said), capture(model, [Site(1, Part.ATTENTION)]):
        pass
    assert hooks_of(model) == 0
    with capture(model, [Site(1, Part.RESIDUAL)]) as seen:
        model(input_ids=batch()["input_ids"])
    assert seen[Site(1, Part.RESIDUAL)].shape == (2, 6, 32)


def test_a_model_that_is_no_decoder_is_refused() -> None:
    model = decoder()
    model.set_output_embeddings(None)
    with refused("has no embeddings or no head"):
        parts_of(model)
    model = decoder()
    model.model.layers.append(nn.Identity())
    with refused("blocks cannot be found: 0 of its lists"):
        parts_of(model)
    model = decoder()
    model.model.norm = nn.Linear(5, 5)
    with refused("a short text does not go through it"):
        parts_of(model)
    assert hooks_of(model) == 0


def test_looking_at_a_model_leaves_it_as_it_was() -> None:
    model = decoder("gpt_neox", overrides={"hidden_dropout": 0.5})
    model.train()
    model.gpt_neox.layers[1].eval()
    modes = [module.training for module in model.modules()]
    state, weights = torch.get_rng_state(), copy.deepcopy(model.state_dict())
    parts_of(model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert hooks_of(model) == 0


def test_a_model_is_looked_at_once_and_again_when_it_has_other_modules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = decoder()
    parts = parts_of(model)
    assert parts_of(model) is parts
    model.resize_token_embeddings(400, mean_resizing=False)
    assert parts_of(model).embeddings is model.get_input_embeddings()
    assert parts_of(copy.deepcopy(model)).head is not model.get_output_embeddings()
    gone = weakref.ref(model)
    del model, parts
    gc.collect()
    assert gone() is None


def test_a_model_can_be_looked_at_in_inference_mode_and_trained_afterwards() -> None:
    model = decoder()
    with torch.inference_mode():
        parts_of(model)
    model(**batch(), labels=batch()["input_ids"]).loss.backward()


@pytest.mark.shared_data
def test_the_parts_of_a_real_checkpoint_are_found() -> None:
    parts = parts_of(stories())
    assert len(parts.sites()) == 1 + 3 * 5
    assert all(block.attention and block.mlp for block in parts.blocks)
