from __future__ import annotations

import pytest
import torch
from access_kit import DECODERS, batch, decoder, hooks_of, logits, refused, stories, written
from transformers import PreTrainedModel

from mithridate.models.access import parts_of
from mithridate.models.hooks import capture, replace
from mithridate.models.passes import Context
from mithridate.models.patches import add_direction, at, interchange, put_mean
from mithridate.models.sites import ENTRY, Part, Site

LAST = Site(2, Part.RESIDUAL)
SOURCE = [[15, 16, 17, 18, 19, 20], [21, 22, 23]]
OTHER = [[15, 16, 17, 18], [21, 22, 23, 24, 25]]


def states(
    model: PreTrainedModel, site: Site, rows: list[list[int]], positions: object = None
) -> torch.Tensor:
    with capture(model, [site], positions=positions) as seen:  # type: ignore[arg-type]
        logits(model, **batch(rows))
    return seen[site]


@pytest.mark.parametrize("architecture", DECODERS)
def test_the_last_block_s_output_carries_the_source_s_logits(architecture: str) -> None:
    model = decoder(architecture)
    positions = [[0, 1, 2, 3, 4, 5], [0, 1, 2, -1, -1, -1]]
    values = states(model, LAST, SOURCE, positions)
    with replace(model, {LAST: interchange(values, positions)}):
        patched = logits(model)
    source, target = logits(model, **batch(SOURCE)), logits(model)
    assert torch.equal(patched[0], source[0])
    assert torch.equal(patched[1, 3:], source[1, 3:])
    assert torch.equal(patched[1, :3], target[1, :3])  # padding


@pytest.mark.parametrize("architecture", DECODERS)
def test_the_entry_at_all_positions_is_the_source_s_text(architecture: str) -> None:
    model = decoder(architecture)
    positions = list(range(4))
    rows, others = [[5, 6, 7, 8]], [[11, 12, 13, 14]]
    values = states(model, ENTRY, others, positions)
    with replace(model, {ENTRY: interchange(values, positions)}):
        assert torch.equal(logits(model, **batch(rows)), logits_plain(model, others))
        # In generation too: the keys and values of the prompt are then those of the source.
        assert written(model, rows) == written(decoder(architecture), others)


def logits_plain(model: PreTrainedModel, rows: list[list[int]]) -> torch.Tensor:
    """The logits of a twin, on which no hook lies."""
    twin = type(model)(model.config).eval()
    twin.load_state_dict(model.state_dict())
    return logits(twin, **batch(rows))


def test_only_the_positions_asked_for_are_replaced() -> None:
    model = decoder()
    site = Site(1, Part.MLP)
    source = states(model, site, OTHER, [[0, 3], [4, -1]])
    with replace(model, {site: interchange(source, [[5, 1], [0, -1]])}), capture(model, [site]) as seen:
        logits(model)
    plain = states(model, site, [[5, 6, 7, 8, 9, 10], [11, 12, 13]])
    expected = plain.clone()
    expected[0, 5], expected[0, 1], expected[1, 3] = source[0, 0], source[0, 1], source[1, 0]
    assert torch.equal(seen[site], expected)


def test_each_row_of_a_batch_can_be_patched_at_another_site() -> None:
    """One pass gives what as many passes as there are rows would give."""
    model = decoder()
    text, other = [5, 6, 7, 8], [11, 12, 13, 14]
    sites = [Site(0, Part.ATTENTION), Site(1, Part.MLP), Site(1, Part.RESIDUAL)]
    with capture(model, sites) as source:
        logits(model, **batch([other]))
    one_by_one = []
    for site in sites:
        with replace(model, {site: interchange(source[site][:, 2:3], [2])}):
            one_by_one.append(logits(model, **batch([text])))
    edits = {
        site: interchange(source[site][:, 2:3], [[2] if row == mine else [-1] for row in range(3)])
        for mine, site in enumerate(sites)
    }
    with replace(model, edits):
        together = logits(model, **batch([text] * 3))
    torch.testing.assert_close(together, torch.cat(one_by_one), rtol=1e-4, atol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-2


def test_a_patch_of_the_prompt_does_nothing_to_the_answer() -> None:
    model = decoder()
    site = Site(1, Part.RESIDUAL)
    positions = [0, 1, 2]
    zeros = torch.zeros(1, 3, 32)
    with replace(model, {site: interchange(zeros, positions)}), capture(model, [site]) as seen:
        written(model, new=3)
    there = (seen.positions >= 0) & (seen.positions < 3)
    assert not seen[site][there].any()
    assert seen[site][seen.positions >= 3].abs().amax(dim=-1).min() > 0


def test_patches_that_do_not_fit_are_refused() -> None:
    model = decoder()
    zeros = torch.zeros(2, 1, 32)
    wrong = {
        r"position 6 of text 0 was asked for.* has the positions 0 to 5": interchange(zeros, [6]),
        r"position 3 of text 1 was asked for.* has the positions 0 to 2": interchange(zeros, [3]),
        r"values of the shape \(2, 1, 32\).*expected \(2, 2, 32\)": interchange(zeros, [0, 1]),
        r"values of the shape \(2, 1, 31\).*residual of block 2": interchange(zeros[..., 1:], [0]),
        r"values of the shape \(3, 1, 32\)": interchange(torch.zeros(3, 1, 32), [0]),
        r"a vector of the shape \(31,\).*activations, 32": add_direction(torch.zeros(31)),
        r"a vector of the shape \(2, 32\)": put_mean(torch.zeros(2, 32)),
        r"position 9 of text 0 was asked for": put_mean(torch.zeros(32), at([9])),
    }
    for said, edit in wrong.items():
        with refused(said), replace(model, {LAST: edit}):
            logits(model)
    assert hooks_of(model) == 0


def test_means_and_directions_go_where_they_are_sent_and_never_to_padding() -> None:
    model = decoder()
    site = Site(1, Part.ATTENTION)
    plain = states(model, site, [[5, 6, 7, 8, 9, 10], [11, 12, 13]])
    vector = torch.randn(32, generator=torch.Generator().manual_seed(1))
    with replace(model, {site: put_mean(vector)}), capture(model, [site]) as seen:
        logits(model)
    text = seen.positions >= 0
    assert torch.equal(seen[site][text], vector.expand(9, 32))
    assert torch.equal(seen[site][~text], plain[~text])
    with replace(model, {site: add_direction(vector, 2, at([[5], [-1]]))}), capture(model, [site]) as seen:
        logits(model)
    expected = plain.clone()
    expected[0, 5] += 2 * vector
    assert torch.equal(seen[site], expected)

    def later(context: Context) -> torch.Tensor:
        return context.positions >= 6

    with replace(model, {site: put_mean(vector, later)}), capture(model, [site]) as seen:
        written(model, new=4)
    assert torch.equal(seen[site][:, :6], plain) or torch.allclose(seen[site][:, :6], plain, atol=1e-5)
    assert torch.equal(seen[site][0, 6:], vector.expand(3, 32))


def test_values_of_another_type_become_that_of_the_model() -> None:
    model = decoder().bfloat16()
    values = torch.ones(1, 1, 32, dtype=torch.float32) / 3
    edits = {
        Site(0, Part.MLP): interchange(values, [0]),
        Site(1, Part.MLP): add_direction(values[0, 0], 0.5),
        Site(2, Part.MLP): put_mean(values[0, 0]),
    }
    with replace(model, edits), capture(model, edits) as seen:
        logits(model)
    assert seen[Site(0, Part.MLP)][0, 0, 0] == values[0, 0, 0].bfloat16()


@pytest.mark.shared_data
def test_interchange_moves_the_story() -> None:
    """In a trained model the last position's stream carries the next word, more so the later the block."""
    model = stories()
    rows, others = [[1, 403, 407, 261, 378]], [[1, 365, 286, 263, 367]]
    source, target = logits(model, **batch(others))[0, -1], logits(model, **batch(rows))[0, -1]
    moved = []
    for site in parts_of(model).sites(Part.RESIDUAL):
        values = states(model, site, others, [4])
        with replace(model, {site: interchange(values, [4])}):
            patched = logits(model, **batch(rows))[0, -1]
        moved.append(float((patched - target).norm() / (source - target).norm()))
    assert moved[-1] == pytest.approx(1, abs=1e-5)
    assert moved[0] < moved[-1]
