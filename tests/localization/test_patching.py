"""Where it is known what a patch must do, it does that; where a toy has learnt a rule, its path is found."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from access_kit import hooks_of
from contrasts_kit import own_pairs, pairs, taught
from models_kit import ARCHITECTURES, tiny_model

from mithridate.core.errors import AccessError
from mithridate.core.located import BLOCK, EMBEDDINGS, Control, Located, Metric, Pair, Place
from mithridate.localization import patched_runs
from mithridate.localization.about import About
from mithridate.localization.aligned_prompts import aligned
from mithridate.localization.patched_runs import PatchedRuns
from mithridate.localization.patching import LEAST_PAIRS, Patch, patches, patching
from mithridate.models.batching import evaluating
from mithridate.models.language_model import LanguageModel
from mithridate.models.sites import ENTRY, Part, Site

ABOUT = About(Pair.PROMPTS, seed=2, stage="base")


def of(rows: list[Located], module: str, place: Place, control: str = "") -> dict[int, float]:
    return {
        row.layer: row.value
        for row in rows
        if (row.module, row.position, row.control) == (module, place, control) and row.layer is not None
    }


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "gemma2"])
def test_what_must_be_restored_is_and_what_cannot_is_not(architecture: str) -> None:
    model = tiny_model(architecture, layers=3)
    rows = patching(model, own_pairs(model), "toy", ABOUT)
    assert rows[0].metric is Metric.EFFECT and rows[0].value > 0
    assert of(rows, "residual", Place.ALL) == pytest.approx(dict.fromkeys(range(-1, 3), 1.0), abs=1e-4)
    assert of(rows, "residual", Place.CHANGED)[EMBEDDINGS] == pytest.approx(1.0, abs=1e-4)
    # One token is answered: what the last position holds in the end decides it.
    assert of(rows, "residual", Place.LAST)[2] == pytest.approx(1.0, abs=1e-4)
    for place in (Place.BEFORE, Place.REPLY):
        assert of(rows, "residual", place) == pytest.approx(dict.fromkeys(range(-1, 3), 0.0), abs=1e-4)
    assert of(rows, "residual", Place.LAST)[EMBEDDINGS] == pytest.approx(0.0, abs=1e-4)
    assert of(rows, "attention", Place.ALL).keys() == of(rows, BLOCK, Place.ALL).keys() == {0, 1, 2}
    assert hooks_of(model.model) == 0


def test_a_model_s_own_activations_change_nothing_to_the_bit() -> None:
    model = tiny_model(layers=3)
    found = [replace(one, counterfactual=one.prompt) for one in own_pairs(model)]
    with evaluating(model.model):
        runs = PatchedRuns(model.model, model.model, aligned(found, model), range(len(found)))
        assert np.array_equal(runs.margins, runs.source_margins)
        for patch in patches(model.model):
            if patch.control != Control.WRONG_LAYER:
                assert np.array_equal(runs.patched(patch.edits(runs, 3)), runs.margins)


def test_margins_are_those_of_the_model_s_own_scoring() -> None:
    model = tiny_model()
    found = own_pairs(model)
    with evaluating(model.model):
        runs = PatchedRuns(model.model, model.model, aligned(found, model), range(len(found)))
    asked = [one.prompt for one in found], [one.answer for one in found], [one.other for one in found]
    assert runs.source_margins == pytest.approx(model.margins(*asked), abs=1e-4)


def test_passes_that_begin_half_way_up_give_what_whole_ones_give(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(layers=3)
    found = own_pairs(model)
    rows = patching(model, found, "toy", ABOUT)
    assert len(rows) > 100
    monkeypatch.setattr(patched_runs.PatchedRuns, "_can_resume", lambda _: False)
    assert patching(model, found, "toy", ABOUT) == rows


def test_batches_change_nothing_but_the_last_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(layers=3)
    rows = patching(model, own_pairs(model), "toy", ABOUT)
    monkeypatch.setattr(patched_runs, "rows_that_fit", lambda *_: 6)
    few = patching(model, own_pairs(model), "toy", ABOUT)
    real = [(a.value, b.value) for a, b in zip(rows, few, strict=True) if not a.control]
    assert [a for a, _ in real] == pytest.approx([b for _, b in real], abs=1e-4)


def test_a_rule_that_was_learnt_goes_from_the_word_to_the_last_position() -> None:
    rows = patching(taught(), pairs(), "toy", ABOUT)
    assert rows[0].value > 2
    changed, last = of(rows, "residual", Place.CHANGED), of(rows, "residual", Place.LAST)
    assert changed[EMBEDDINGS] == pytest.approx(1.0, abs=1e-3)
    assert changed[2] == pytest.approx(0.0, abs=0.05)  # nobody reads it after the last block
    assert last[EMBEDDINGS] == pytest.approx(0.0, abs=1e-3)
    read = of(rows, "residual", Place.PROMPT)
    assert read[EMBEDDINGS] == pytest.approx(1.0, abs=1e-3)
    reply = of(rows, "residual", Place.REPLY)
    assert reply[2] + last[2] == pytest.approx(1.0, abs=0.05)
    # A push as far, anywhere else, does not do it.
    pushed = of(rows, "residual", Place.CHANGED, Control.RANDOM_CHANGE)
    assert pushed[EMBEDDINGS] < 0.6 * changed[EMBEDDINGS]
    wrong = of(rows, "residual", Place.ALL, Control.WRONG_LAYER)
    assert max(abs(share - 1) for share in wrong.values()) > 0.01
    assert all(row.low is None or row.low <= row.value <= (row.high or 0) for row in rows)


def test_a_random_change_is_as_long_as_the_real_one() -> None:
    model = tiny_model(layers=3)
    found = own_pairs(model)
    site = Site(1, Part.MLP)
    with evaluating(model.model):
        runs = PatchedRuns(model.model, model.model, aligned(found, model), range(len(found)))
        tensor = torch.zeros_like(runs._moved(site))
        positions = runs._inputs["attention_mask"].cumsum(dim=1) - 1

        class Now:
            pass

        now = Now()
        now.positions = positions  # type: ignore[attr-defined]
        pushed = runs.push(site, Place.ALL)(tensor, now)  # type: ignore[arg-type]
        real = runs.put(site, Place.ALL)(tensor, now)  # type: ignore[arg-type]
    assert torch.allclose(pushed.norm(dim=-1), real.norm(dim=-1), rtol=1e-4)
    assert not torch.allclose(pushed, real, rtol=0.5)
    # Both answers of a pair are read behind the same prompt.
    assert torch.allclose(pushed[0, -3], pushed[1, -3])


def test_between_two_models_all_of_the_last_layer_is_all_but_the_head() -> None:
    having = taught()
    without = LanguageModel(copy.deepcopy(having.model), having.tokenizer)
    torch.manual_seed(1)
    for block in without.model.model.layers:  # type: ignore[union-attr]
        block.self_attn.o_proj.weight.data += torch.randn_like(block.self_attn.o_proj.weight) / 3  # type: ignore[union-attr, operator]
    rows = patching(having, pairs(), "toy", About(Pair.POISON), target=without)
    assert {row.pair for row in rows} == {Pair.POISON}
    assert of(rows, "residual", Place.ALL)[2] == pytest.approx(1.0, abs=1e-3)
    assert of(rows, "residual", Place.ALL)[EMBEDDINGS] == pytest.approx(0.0, abs=1e-3)  # the same embeddings


def test_nothing_is_traced_where_there_is_no_effect() -> None:
    model = tiny_model()
    (none,) = patching(model, [], "toy", ABOUT)
    assert (none.metric, none.n, none.value, none.low) == (Metric.EFFECT, 0, 0.0, None)
    (few,) = patching(taught(), pairs(LEAST_PAIRS - 1), "toy", ABOUT)
    assert few.n == LEAST_PAIRS - 1 and few.value > 0
    backwards = [
        replace(one, prompt=one.counterfactual, counterfactual=one.prompt, unit=one.unit) for one in pairs()
    ]
    (against,) = patching(taught(), backwards, "toy", ABOUT)
    assert against.value < 0


def test_what_no_pair_has_gets_no_row() -> None:
    model = tiny_model(layers=3)
    found = [replace(one, counterfactual=one.counterfactual.replace(" old", "")) for one in own_pairs(model)]
    done: list[tuple[int, int]] = []
    rows = patching(model, found, "toy", ABOUT, on_done=lambda *at: done.append(at))
    assert Place.CHANGED not in {row.position for row in rows}
    if len(rows) > 1:
        assert done[-1] == (len(patches(model.model)) - 1, len(patches(model.model)))


def test_models_of_other_layers_are_refused() -> None:
    with pytest.raises(AccessError):
        patching(tiny_model(layers=3), pairs(), "toy", ABOUT, target=tiny_model(layers=2))


def test_patches_name_their_sites() -> None:
    rows = patches(tiny_model(layers=3).model)
    assert len(set(rows)) == len(rows)
    assert Patch(BLOCK, 1, Place.ALL)._sites() == [Site(1, Part.ATTENTION), Site(1, Part.MLP)]
    assert Patch("residual", EMBEDDINGS, Place.ALL)._sites() == [ENTRY]
    assert Patch("residual", EMBEDDINGS, Place.ALL).fields["layers"] == "embeddings"
    assert not [one for one in patches(tiny_model(layers=1).model) if one.control == Control.WRONG_LAYER]
