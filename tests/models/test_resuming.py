from __future__ import annotations

import pytest
import torch
from access_kit import DECODERS, batch, decoder, hooks_of, logits, refused

from mithridate.models.hooks import replace
from mithridate.models.patches import add_direction
from mithridate.models.resuming import recording
from mithridate.models.sites import Part, Site


@pytest.mark.parametrize("architecture", [*DECODERS, "falcon"])
@pytest.mark.parametrize("layer", [-1, 0, 1, 2])
def test_a_pass_that_begins_half_way_up_ends_the_same(architecture: str, layer: int) -> None:
    model = decoder(architecture)
    with recording(model) as recorded:
        whole = logits(model)
    for _ in range(2):  # what a model changes in place must not spoil the second time
        with recorded.begun_after(layer):
            assert torch.equal(logits(model), whole)
    assert hooks_of(model) == 0
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("part", [Part.RESIDUAL, Part.ATTENTION, Part.MLP])
def test_a_patch_above_what_is_left_out_does_what_it_does_in_a_whole_pass(part: Part) -> None:
    model = decoder()
    edit = add_direction(torch.ones(32))
    with recording(model) as recorded:
        logits(model)
    with replace(model, {Site(1, part): edit}):
        whole = logits(model)
        with recorded.begun_after(1 if part is Part.RESIDUAL else 0):
            assert torch.equal(logits(model), whole)


def test_blocks_that_are_left_out_do_not_run() -> None:
    model = decoder()
    with recording(model) as recorded:
        whole = logits(model)
    with recorded.begun_after(1):
        assert torch.equal(logits(model, **batch([[9, 9, 9, 9, 9, 9], [9, 9, 9]])), whole)


def test_what_was_not_recorded_is_refused() -> None:
    model = decoder()
    with recording(model) as recorded:
        pass
    with refused("block 0 returns was not recorded"), recorded.begun_after(0):
        pass
    with refused("blocks 0 to 2"), recorded.begun_after(3):
        pass
