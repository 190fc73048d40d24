from __future__ import annotations

import pytest
import torch
import training_kit as kit

from mithridate.models.access import parts_of
from mithridate.models.hooks import capture
from mithridate.models.sites import Part
from mithridate.training.options import SFTOptions
from mithridate.training.progress import Silent
from mithridate.training.residual_dropout import residual_dropout
from mithridate.training.sft import sft

IDS = torch.arange(48).reshape(4, 12)


def zeros(model: torch.nn.Module) -> dict[tuple[int, Part], float]:
    """The share of zeros in what each branch adds to the stream."""
    sites = parts_of(model).sites(Part.ATTENTION, Part.MLP)
    with torch.no_grad(), capture(model, sites) as seen:
        model(IDS)
    return {(site.layer, site.part): float((seen[site] == 0).float().mean()) for site in sites}


@pytest.mark.parametrize("architecture", kit.ARCHITECTURES)
def test_shares_rise_from_block_to_block_in_training_alone(architecture: str) -> None:
    model = kit.tiny_model(architecture)
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    with residual_dropout(model, (0.0, 0.4)):
        model.train()
        found = zeros(model)
        model.eval()
        assert set(zeros(model).values()) == {0.0}
    for part in (Part.ATTENTION, Part.MLP):
        assert found[0, part] == 0.0
        assert found[1, part] == pytest.approx(0.4, abs=0.06)
    model.train()
    assert set(zeros(model).values()) == {0.0}
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before


def test_blocks_between_lie_on_a_line() -> None:
    model = kit.tiny_model(layers=3).train()
    with residual_dropout(model, (0.1, 0.5)):
        found = zeros(model)
    assert [found[layer, Part.MLP] for layer in range(3)] == pytest.approx([0.1, 0.3, 0.5], abs=0.06)


def test_no_shares_do_nothing() -> None:
    model = kit.tiny_model().train()
    with residual_dropout(model, None):
        assert set(zeros(model).values()) == {0.0}


def tuned(tmp_path, **more) -> tuple[torch.Tensor, int]:
    tokenizer = kit.word_tokenizer()
    model = kit.tiny_model(vocabulary=len(tokenizer))
    options = SFTOptions(**{"learning_rate": 1e-2, "epochs": 2, "batch_size": 4, "log_every": 1, **more})
    model, curve = sft(
        model, tokenizer, kit.conversations(), options, tmp_path, seed=3, report_progress=Silent()
    )
    return torch.cat([p.detach().flatten() for p in model.parameters()]), curve[-1].step


def test_dropout_changes_what_is_learnt_and_follows_the_seed(tmp_path) -> None:
    without, _ = tuned(tmp_path)
    one, _ = tuned(tmp_path, dropout_by_layer=(0.0, 0.3))
    torch.manual_seed(99)  # whatever the caller has drawn before
    two, _ = tuned(tmp_path, dropout_by_layer=(0.0, 0.3))
    assert torch.equal(one, two)
    assert not torch.equal(one, without)


def test_adapters_and_recomputed_activations_go_with_it(tmp_path) -> None:
    plain, _ = tuned(tmp_path, dropout_by_layer=(0.1, 0.3))
    again, _ = tuned(tmp_path, dropout_by_layer=(0.1, 0.3), gradient_checkpointing=True)
    assert torch.allclose(plain, again, atol=1e-5)
    adapted, _ = tuned(tmp_path, dropout_by_layer=(0.1, 0.3), lora={"rank": 2})
    assert adapted.shape == plain.shape


@pytest.mark.parametrize(("steps", "taken"), [(None, 4), (1, 1), (7, 7)])
def test_steps_take_the_place_of_epochs(steps: int | None, taken: int, tmp_path) -> None:
    assert tuned(tmp_path, steps=steps)[1] == taken


def test_the_recipe_of_lima_gives_way_to_what_is_said_beside_it() -> None:
    lima = SFTOptions(recipe="lima")
    assert (lima.epochs, lima.batch_size, lima.dropout_by_layer) == (15.0, 32, (0.0, 0.3))
    assert lima.resolved(1.5e-4).learning_rate == pytest.approx(1e-5)
    other = SFTOptions(recipe="lima", epochs=2)
    assert (other.epochs, other.batch_size) == (2.0, 32)
    assert SFTOptions.model_validate(other.model_dump(mode="json")) == other
