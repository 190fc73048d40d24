from __future__ import annotations

import pytest
import torch
from access_kit import decoder, hooks_of, logits, refused

from mithridate.models.hooks import capture, map_given
from mithridate.models.projections import projections
from mithridate.models.sites import ENTRY, Part, Site

SITES = [Site(layer, part) for layer in range(3) for part in (Part.ATTENTION, Part.MLP)]


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gpt_neox", "gpt2", "falcon"])
def test_the_matrix_makes_what_the_branch_adds(architecture: str) -> None:
    model = decoder(architecture)
    found = projections(model, SITES)
    given: dict[Site, torch.Tensor] = {}

    def keeping(site: Site) -> object:
        def keep(tensor: torch.Tensor) -> torch.Tensor:
            given[site] = tensor
            return tensor

        return keep

    plain = logits(model)
    watching = {found[site].module: keeping(site) for site in SITES}
    with map_given(watching), capture(model, SITES) as seen:  # type: ignore[arg-type]
        assert torch.equal(logits(model), plain)
    assert hooks_of(model) == 0
    for site in SITES:
        projection = found[site]
        assert projection.matrix().shape == (32, projection.inputs)
        made = given[site] @ projection.matrix().T
        made = made if projection.bias is None else made + projection.bias
        torch.testing.assert_close(made.detach(), seen[site], rtol=1e-4, atol=1e-4)


def test_what_is_no_single_matrix_is_refused() -> None:
    with refused("behind the attention of block 0 stands a norm"):
        projections(decoder("olmo2"), [Site(0, Part.ATTENTION)])
    with refused("no matrix; expected an attention or an MLP"):
        projections(decoder("llama"), [ENTRY])
    with refused("the mlp of block 0 adds to the stream is the output of [02] matrices"):
        projections(decoder("mixtral"), [Site(0, Part.MLP)])
    with refused("so there is no mlp of block 3"):
        projections(decoder("llama"), [Site(3, Part.MLP)])
