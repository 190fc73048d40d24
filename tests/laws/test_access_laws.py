"""What must hold of reading and replacing activations, whatever the model, the texts and the places."""

from __future__ import annotations

from functools import cache

import torch
from access_kit import DECODERS, batch, decoder, logits
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from mithridate.models.access import parts_of
from mithridate.models.hooks import capture, replace
from mithridate.models.patches import add_direction, at, interchange, put_mean
from mithridate.models.sites import ENTRY, Part, Site
from mithridate.models.transplanting import transplant

MODEL = cache(decoder)
TEXTS = st.lists(st.lists(st.integers(3, 300), min_size=1, max_size=7), min_size=1, max_size=3)
SITES = st.builds(
    Site, st.integers(0, 2), st.sampled_from([Part.RESIDUAL, Part.ATTENTION, Part.MLP])
) | st.just(ENTRY)
SOME = settings(max_examples=15, deadline=None)


def columns(rows: list[list[int]], data: st.DataObject) -> list[list[int]]:
    """As many positions of each text, -1 among them."""
    k = data.draw(st.integers(1, 3))
    return [data.draw(st.lists(st.integers(-1, len(row) - 1), min_size=k, max_size=k)) for row in rows]


@SOME
@given(st.sampled_from(DECODERS), TEXTS, SITES, st.data())
def test_a_text_patched_with_itself_is_itself(
    name: str, rows: list[list[int]], site: Site, data: st.DataObject
) -> None:
    model, positions = MODEL(name), columns(rows, data)
    with capture(model, [site], positions=positions) as seen:
        before = logits(model, **batch(rows))
    with replace(model, {site: interchange(seen[site], positions)}):
        assert torch.equal(logits(model, **batch(rows)), before)


@SOME
@given(st.sampled_from(DECODERS), TEXTS, SITES, st.data())
def test_an_edit_changes_nothing_before_its_position(
    name: str, rows: list[list[int]], site: Site, data: st.DataObject
) -> None:
    model, positions = MODEL(name), columns(rows, data)
    before = logits(model, **batch(rows))
    with replace(model, {site: put_mean(torch.ones(32), at(positions))}):
        after = logits(model, **batch(rows))
    width = max(map(len, rows))
    for row, asked, old, new in zip(rows, positions, before, after, strict=True):
        padding = width - len(row)
        first = min((place for place in asked if place >= 0), default=len(row))
        torch.testing.assert_close(new[padding : padding + first], old[padding : padding + first])
        # Only what was asked for: a row of no positions is as it was.
        if first == len(row):
            torch.testing.assert_close(new[padding:], old[padding:])


@SOME
@given(st.sampled_from(DECODERS), TEXTS, SITES)
def test_a_direction_times_nothing_is_no_edit(name: str, rows: list[list[int]], site: Site) -> None:
    model = MODEL(name)
    before = logits(model, **batch(rows))
    with replace(model, {site: add_direction(torch.ones(32), 0.0)}):
        assert torch.equal(logits(model, **batch(rows)), before)


@SOME
@given(st.sampled_from(DECODERS), TEXTS, st.sets(st.integers(0, 2)))
def test_transplants_in_both_directions_complete_each_other(
    name: str, rows: list[list[int]], blocks: set[int]
) -> None:
    """Blocks of one in the other are the same model as all but those the other way."""
    target, source = MODEL(name, 1), MODEL(name, 2)
    rest: PreTrainedModel
    with transplant(target, source, blocks) as model:
        one_way = logits(model, **batch(rows))
    others = set(range(3)) - blocks
    with transplant(source, target, others, embeddings=True, final_norm=True, head=True) as rest:
        other_way = logits(rest, **batch(rows))
    assert torch.equal(one_way, other_way)


@SOME
@given(st.sampled_from(DECODERS), TEXTS)
def test_the_stream_is_the_sum_of_what_was_added(name: str, rows: list[list[int]]) -> None:
    model = MODEL(name)
    with capture(model, parts_of(model).sites()) as seen:
        logits(model, **batch(rows))
    text = seen.positions >= 0
    added = sum((seen[site] for site in seen if site.part in (Part.ATTENTION, Part.MLP)), seen[ENTRY])
    last = seen[Site(2, Part.RESIDUAL)]
    torch.testing.assert_close(added[text], last[text], rtol=1e-4, atol=1e-4 * float(last.abs().max()))
