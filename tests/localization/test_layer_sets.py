from __future__ import annotations

import pytest
from access_kit import DECODERS, decoder
from hypothesis import given
from hypothesis import strategies as st

from mithridate.core.located import Family
from mithridate.localization.layer_sets import Layers, LayerSet
from mithridate.models.transplanting import part_tensors

FAMILIES = (Family.SINGLE, Family.WINDOW, Family.PREFIX, Family.SUFFIX)


def test_sets_are_named_as_people_name_them() -> None:
    layers = Layers(3, tied=False, final_norm=True)
    names = {family: [layers.name(one) for one in layers.sets(family)] for family in Family}
    assert names[Family.SINGLE] == ["embeddings", "0", "1", "2", "head"]
    assert names[Family.WINDOW] == ["0-1", "1-2"]
    assert names[Family.PREFIX] == ["embeddings-0", "embeddings-1", "embeddings-2"]
    assert names[Family.SUFFIX] == ["0-head", "1-head", "2-head"]
    assert names[Family.ALL] == ["embeddings-head"]
    assert names[Family.NONE] == []


def test_a_head_that_is_the_embedding_goes_with_the_embeddings() -> None:
    tied, untied = (Layers(2, tied=tied, final_norm=True) for tied in (True, False))
    bottom, top = LayerSet(Family.SINGLE, -1, -1), LayerSet(Family.SINGLE, 2, 2)
    assert (tied.parts(bottom), tied.parts(top)) == (["embeddings", "head"], ["final norm"])
    assert (untied.parts(bottom), untied.parts(top)) == (["embeddings"], ["head", "final norm"])


@pytest.mark.parametrize("architecture", [*DECODERS, "gpt2"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_single_layers_of_a_model_are_all_of_it_and_none_twice(architecture: str, tied: bool) -> None:
    model = decoder(architecture, tie_embeddings=tied)
    layers, tensors = Layers.of(model), part_tensors(model)
    parts = [part for one in layers.sets(Family.SINGLE) for part in layers.parts(one)]
    assert sorted(parts) == sorted(tensors)
    everything = layers.parts(*layers.sets(Family.ALL))
    assert sorted(everything) == sorted(parts)


@given(blocks=st.integers(1, 12), tied=st.booleans(), norm=st.booleans())
def test_a_prefix_and_the_suffix_above_it_are_the_whole(blocks: int, tied: bool, norm: bool) -> None:
    layers = Layers(blocks, tied, norm)
    (whole,) = layers.sets(Family.ALL)
    suffixes = {one.first: one for one in layers.sets(Family.SUFFIX, Family.SINGLE) if one.last == blocks}
    for prefix in layers.sets(Family.PREFIX):
        above = suffixes[prefix.last + 1]
        assert sorted(layers.parts(prefix) + layers.parts(above)) == sorted(layers.parts(whole))
        assert not set(layers.parts(prefix)) & set(layers.parts(above))
