"""Our hooks beside those of nnsight, which many use for this: the same activations and interventions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from access_kit import decoder, logits
from transformers import PreTrainedModel

from mithridate.models.access import parts_of
from mithridate.models.hooks import capture, replace
from mithridate.models.patches import interchange
from mithridate.models.sites import Part, Site

nnsight = pytest.importorskip("nnsight", reason="nnsight is not installed: pip install nnsight")

# Rows of one length: padding is no matter of nnsight's.
PROMPT, OTHER = (
    torch.tensor([[5, 6, third, 8, 9], [11, 12, third + 1, 14, 15]]) for third in (7, 21)
)  # fmt: skip
POSITIONS = [2, 4]
every_architecture = pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])


def blocks(view: Any) -> Any:
    """The blocks of a model as nnsight sees it, by their path in the architecture."""
    return view.gpt_neox.layers if hasattr(view, "gpt_neox") else view.model.layers


def seen_by_nnsight(model: PreTrainedModel, layer: int) -> dict[Site, torch.Tensor]:
    view = nnsight.NNsight(model)
    block = blocks(view)[layer]
    with torch.no_grad(), view.trace(input_ids=PROMPT):
        added = block.mlp.output.save()
        stream = block.output.save()
    return {Site(layer, Part.MLP): added, Site(layer, Part.RESIDUAL): stream}


def interchanged_by_nnsight(model: PreTrainedModel, site: Site, values: torch.Tensor) -> torch.Tensor:
    view = nnsight.NNsight(model)
    block = blocks(view)[site.layer]
    place = block.mlp if site.part is Part.MLP else block
    with torch.no_grad(), view.trace(input_ids=PROMPT):
        place.output[:, POSITIONS] = values
        found = view.output.logits.save()
    made: torch.Tensor = found
    return made


@every_architecture
def test_both_see_the_same_stream_and_the_same_mlp(architecture: str) -> None:
    model = decoder(architecture)
    sites = parts_of(model).sites(Part.RESIDUAL, Part.MLP)
    with capture(model, sites) as ours:
        logits(model, input_ids=PROMPT)
    theirs = {site: seen for layer in range(3) for site, seen in seen_by_nnsight(model, layer).items()}
    assert theirs.keys() == set(sites)
    for site in sites:
        assert torch.equal(ours[site], theirs[site]), site


@pytest.mark.parametrize("part", [Part.RESIDUAL, Part.MLP])
@every_architecture
def test_an_interchange_by_either_gives_the_same_logits(architecture: str, part: Part) -> None:
    model, site, positions = decoder(architecture), Site(1, part), torch.tensor(POSITIONS)
    with capture(model, [site], positions=positions) as of_other:
        logits(model, input_ids=OTHER)
    values = of_other[site]
    with replace(model, {site: interchange(values, positions)}):
        ours = logits(model, input_ids=PROMPT)
    assert torch.equal(ours, interchanged_by_nnsight(model, site, values))
    assert (ours - logits(model, input_ids=PROMPT)).abs().max() > 0.01
