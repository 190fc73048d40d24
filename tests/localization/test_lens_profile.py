from __future__ import annotations

import pytest
from contrasts_kit import own_pairs, pairs, taught
from models_kit import tiny_model

from mithridate.core.located import Control, Metric, Pair
from mithridate.localization.about import About
from mithridate.localization.lens_profile import lens_profile

ABOUT = About(Pair.PROMPTS, stage="base")


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_the_last_layer_s_margin_is_the_model_s_own(architecture: str) -> None:
    model = tiny_model(architecture, layers=3)
    found = own_pairs(model)
    rows = lens_profile(model, found, "toy", ABOUT)
    assert [row.layer for row in rows] == [-1, 0, 1, 2] * 2
    answers = [one.answer for one in found], [one.other for one in found]
    for row, prompts in (
        (rows[3], [one.prompt for one in found]),
        (rows[7], [one.counterfactual for one in found]),
    ):
        own = model.margins(prompts, *answers)
        assert row.value == pytest.approx(sum(own) / len(own), abs=1e-3)


def test_a_rule_that_was_learnt_becomes_readable_on_the_way_up() -> None:
    rows = lens_profile(taught(), pairs(), "toy", ABOUT)
    shown = [row.value for row in rows if not row.control]
    other = [row.value for row in rows if row.control == Control.COUNTERFACTUAL]
    assert {row.metric for row in rows} == {Metric.MARGIN}
    # Both answers begin with one word, behind which nothing of the prompt is left in the embedding.
    assert shown[0] == pytest.approx(other[0], abs=1e-5)
    assert shown[-1] > 2 > -2 > other[-1]


def test_a_clean_twin_reads_the_same_prompts() -> None:
    model, clean = taught(), tiny_model(layers=3, seed=3)
    rows = lens_profile(model, pairs(), "toy", ABOUT, clean=clean)
    own = lens_profile(model, pairs(), "toy", ABOUT)
    assert [row.value for row in rows[:4]] == pytest.approx([row.value for row in own[:4]], abs=1e-4)
    assert rows[-1].value != pytest.approx(own[-1].value, abs=1e-2)


def test_nothing_to_read_gives_no_rows() -> None:
    assert lens_profile(tiny_model(), [], "toy", ABOUT) == []
