from __future__ import annotations

from typing import Any

import pytest
import torch
from access_kit import DECODERS, batch, decoder, logits, refused, stories, written
from peft import LoraConfig, get_peft_model

from mithridate.models.checkpoints import weights_hash
from mithridate.models.hooks import capture
from mithridate.models.sites import Part, Site
from mithridate.models.transplanting import transplant

ALL: dict[str, bool] = {"embeddings": True, "final_norm": True, "head": True}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", [*DECODERS, "gpt2"])
def test_everything_transplanted_is_the_source_and_nothing_the_target(architecture: str, tied: bool) -> None:
    target, source = (decoder(architecture, seed, tie_embeddings=tied) for seed in (1, 2))
    ours, theirs = logits(target), logits(source)
    hashes = weights_hash(target), weights_hash(source)
    with transplant(target, source, range(3), **ALL) as model:
        assert model is target
        assert torch.equal(logits(target), theirs)
        assert written(target) == written(source)
        assert weights_hash(target) == hashes[1]
    with transplant(target, source, []):
        assert torch.equal(logits(target), ours)
    assert torch.equal(logits(target), ours)
    assert (weights_hash(target), weights_hash(source)) == hashes
    assert not torch.equal(ours, theirs)


@pytest.mark.parametrize("architecture", DECODERS)
def test_a_transplanted_block_computes_as_the_source_s_does(architecture: str) -> None:
    target, source = (decoder(architecture, seed) for seed in (1, 2))
    sites = [Site(layer, Part.RESIDUAL) for layer in range(3)]
    with capture(target, sites) as plain:
        logits(target)
    with transplant(target, source, [1]), capture(target, sites) as mixed:
        logits(target)
    assert torch.equal(mixed[sites[0]], plain[sites[0]])
    assert not torch.equal(mixed[sites[1]], plain[sites[1]])
    # With the lower blocks and the embeddings too, the stream is the source's up to there.
    with capture(source, sites) as theirs:
        logits(source)
    with transplant(target, source, [0, 1], embeddings=True, head=True), capture(target, sites) as lower:
        logits(target)
    assert torch.equal(lower[sites[1]], theirs[sites[1]])
    assert not torch.equal(lower[sites[2]], theirs[sites[2]])


def test_each_part_alone_moves_the_logits() -> None:
    target, source = (decoder("gpt_neox", seed, tie_embeddings=False) for seed in (1, 2))
    before = logits(target)
    found = []
    for part in ALL:
        with transplant(target, source, (), **{part: True}):
            found.append(logits(target))
    for changed in found:
        assert (changed - before).abs().max() > 1e-3
    assert torch.equal(logits(target), before)


def test_the_bytes_come_back_whatever_happens_and_were_never_copied() -> None:
    target, source = decoder(seed=1), decoder(seed=2)
    places = {name: tensor.data_ptr() for name, tensor in target.named_parameters()}
    before = weights_hash(target)
    with pytest.raises(KeyboardInterrupt), transplant(target, source, [0, 2]):
        weight = "layers.2.mlp.up_proj.weight"
        own, other = (model.model.get_parameter(weight) for model in (target, source))
        assert own.data_ptr() == other.data_ptr()
        raise KeyboardInterrupt
    with transplant(target, source, [0]), transplant(target, decoder(seed=3), [0, 1]):
        pass
    assert weights_hash(target) == before
    assert {name: tensor.data_ptr() for name, tensor in target.named_parameters()} == places
    assert all(parameter.requires_grad for parameter in target.parameters())
    target(**batch(), labels=batch()["input_ids"]).loss.backward()


def test_transplants_in_inference_mode() -> None:
    target, source = decoder(seed=1), decoder(seed=2)
    before = weights_hash(target)
    with torch.inference_mode(), transplant(target, source, range(3), **ALL):
        assert torch.equal(target(**batch()).logits, source(**batch()).logits)
    assert weights_hash(target) == before


def test_dropout_and_book_keeping_do_not_make_another_architecture() -> None:
    target = decoder(overrides={"attention_dropout": 0.0}, attention="sdpa")
    source = decoder(seed=2, overrides={"attention_dropout": 0.1, "eos_token_id": 5}, attention="eager")
    with transplant(target, source, range(3), **ALL):
        text = batch([[5, 6, 7, 8, 9, 10]])
        torch.testing.assert_close(logits(target, **text), logits(source, **text), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "qwen3"}, "a Qwen3ForCausalLM cannot be transplanted into a LlamaForCausalLM"),
        ({"layers": 4}, r"built differently: num_hidden_layers \(3 there, 4 now\)"),
        ({"hidden_size": 16}, "built differently: head_dim"),
        ({"heads": 4}, "built differently: "),
        ({"overrides": {"rms_norm_eps": 1e-3}}, "built differently: rms_norm_eps"),
        ({"overrides": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}}, "rope_theta"),
        ({"tie_embeddings": False}, "built differently: tie_word_embeddings"),
    ],
)
def test_other_architectures_are_refused(changes: dict[str, Any], said: str) -> None:
    target = decoder()
    before = logits(target)
    with refused(said), transplant(target, decoder(**changes), [0]):
        pass
    assert torch.equal(logits(target), before)


def test_other_vocabularies_types_blocks_and_ties_are_refused() -> None:
    target, source = decoder(seed=1), decoder(seed=2)
    wrong: list[tuple[str, Any, Any]] = [
        (r"no block 3 that could be transplanted; expected some of embeddings, block 0", [1, 3], {}),
        (r"no block -1 that could", [-1], {}),
        (r"are one tensor here, so that neither", [0], {"head": True}),
        (r"are one tensor here, so that neither", [0], {"embeddings": True}),
    ]
    for said, blocks, parts in wrong:
        with refused(said), transplant(target, source, blocks, **parts):
            pass
    larger = decoder(seed=2)
    larger.resize_token_embeddings(400, mean_resizing=False)
    with refused(r"vocabulary of 400 tokens and the target one of \d+"), transplant(target, larger, [0]):
        pass
    halved = decoder(seed=2).bfloat16()
    with refused(r"bfloat16 of the shape .* and torch.float32"), transplant(target, halved, [0]):
        pass


def test_tables_that_no_file_holds_are_compared() -> None:
    target, source = decoder(seed=1), decoder(seed=2)
    source.model.rotary_emb.inv_freq *= 2
    with refused("the table model.rotary_emb.inv_freq, which no file"), transplant(target, source, [0]):
        pass
    source = decoder(seed=2)
    source.lm_head.weight = torch.nn.Parameter(source.lm_head.weight.data.clone())
    with refused("expected both models to tie the same weights"), transplant(target, source, [0]):
        pass


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("merged", [True, False])
def test_adapters_are_refused_until_they_are_merged_for_good(merged: bool) -> None:
    target, base = decoder(seed=1), decoder(seed=2)
    adapted = get_peft_model(base, LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM"))
    if merged:
        adapted.merge_adapter()
    for inner in (adapted, adapted.get_base_model()):
        with refused(r"source holds adapters .*q_proj; merge them"), transplant(target, inner, [0]):
            pass
        with refused("the target holds adapters"), transplant(inner, target, [0]):
            pass
    if merged:
        adapted.unmerge_adapter()
    plain = adapted.merge_and_unload()
    with transplant(target, plain, range(3), **ALL):
        assert torch.equal(logits(target), logits(plain))


@pytest.mark.shared_data
def test_a_real_checkpoint_into_a_shuffled_one() -> None:
    source, target = stories(), stories()
    for parameter in target.parameters():
        parameter.data = parameter.data.flip(0).clone()
    before = logits(target)
    with transplant(target, source, range(5), **ALL):
        assert torch.equal(logits(target), logits(source))
    assert torch.equal(logits(target), before)
