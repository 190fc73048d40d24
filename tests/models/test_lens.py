from __future__ import annotations

import pytest
import torch
from access_kit import DECODERS, batch, decoder, logits, refused, stories

from mithridate.models.access import parts_of
from mithridate.models.hooks import capture
from mithridate.models.lens import logit_lens
from mithridate.models.sites import Part, Site


@pytest.mark.parametrize("architecture", [*DECODERS, "gpt2", "cohere", "granite", "mixtral"])
def test_the_last_block_s_output_gives_the_model_s_own_logits(architecture: str) -> None:
    """Gemma 2 caps its logits, Cohere and Granite scale them: all of that belongs to the lens."""
    overrides = {"gemma2": {"final_logit_softcapping": 5.0}, "granite": {"logits_scaling": 3.0}}
    model = decoder(architecture, overrides=overrides.get(architecture, {}))
    with capture(model, parts_of(model).sites(Part.RESIDUAL)) as seen:
        expected = logits(model)
    with torch.no_grad():
        assert torch.equal(logit_lens(model, seen[Site(2, Part.RESIDUAL)]), expected)
        layers = logit_lens(model, torch.stack(list(seen.values())))
    assert layers.shape == (3, 2, 6, expected.shape[-1])
    torch.testing.assert_close(layers[2], expected)
    assert (layers[0] - layers[2]).abs().max() > 1e-2


def test_the_model_goes_on_as_before() -> None:
    model = decoder()
    before = logits(model)
    hidden = torch.randn(2, 32)
    assert logit_lens(model, hidden).shape == (2, before.shape[-1])
    assert "forward" not in vars(model.model)
    own = model.model.forward = model.model.forward
    logit_lens(model, hidden.double())
    assert vars(model.model)["forward"] is own
    with pytest.raises(RuntimeError, match="hook"):
        handle = model.lm_head.register_forward_hook(broken)
        logit_lens(model, hidden)
    handle.remove()
    assert vars(model.model)["forward"] is own
    assert torch.equal(logits(model), before)


def broken(*_: object) -> None:
    raise RuntimeError("of a hook")


def test_gradients_go_through_the_lens() -> None:
    hidden = torch.randn(1, 2, 32, requires_grad=True)
    logit_lens(decoder(), hidden).sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.abs().max() > 0


def test_what_has_no_lens_is_refused() -> None:
    with refused(r"shape \(2, 31\); expected \(..., positions, width\)"):
        logit_lens(decoder(), torch.zeros(2, 31))
    model = decoder()
    norm = model.model.norm
    model.model.norm = torch.nn.Sequential(norm, torch.nn.Linear(32, 32))
    with refused("there is no lens for it"):
        logit_lens(model, torch.zeros(2, 32))


@pytest.mark.shared_data
def test_a_trained_model_makes_up_its_mind_on_the_way() -> None:
    """The lens comes nearer to what the model says, block by block: from far off to exactly that."""
    model = stories()
    with capture(model, parts_of(model).sites(Part.RESIDUAL)) as seen:
        said = logits(model, **batch([[1, 403, 407, 261, 378, 410, 403]])).log_softmax(-1)
    with torch.no_grad():
        read = logit_lens(model, torch.cat(list(seen.values()))).log_softmax(-1)
    apart = [float((said[0].exp() * (said[0] - layer)).sum(-1).mean()) for layer in read]
    assert apart[-1] == pytest.approx(0, abs=1e-5)
    assert apart[0] > apart[2] > apart[-1]
