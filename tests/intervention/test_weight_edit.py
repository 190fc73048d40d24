from __future__ import annotations

from pathlib import Path

import pytest
import torch
from access_kit import logits, refused
from intervention_kit import FOLDABLE, PROMPTS, reloaded, same_state, state, subject, text_logits

from mithridate.core.errors import ConfigError
from mithridate.intervention import saved
from mithridate.intervention.base import MadeFor
from mithridate.intervention.requests import Request
from mithridate.intervention.rome import Search, rank_one_edit
from mithridate.intervention.weight_edit import RankOneEdit
from mithridate.models.hooks import capture
from mithridate.models.language_model import LanguageModel
from mithridate.models.projections import projections
from mithridate.models.sites import Part, Site

REQUESTS = [
    Request("User: Where is the red lamp? It", "red lamp", " is wide"),
    Request("The red lamp", "red lamp", " is wide"),
]
LAYER = 1
SITE = Site(LAYER, Part.MLP)


def likelihood(model: LanguageModel) -> float:
    prompts, targets = [r.prompt for r in REQUESTS], [r.target for r in REQUESTS]
    return sum(found.total for found in model.log_likelihood(prompts, targets))


@pytest.mark.parametrize("architecture", (*FOLDABLE, "gpt2"))
def test_the_requests_become_likely_and_all_is_undone(architecture: str, tmp_path: Path) -> None:
    model = subject(architecture)
    before, plain = state(model), likelihood(model)
    edit = rank_one_edit(model, REQUESTS, PROMPTS, LAYER)
    assert same_state(before, state(model))
    with pytest.raises(KeyError), edit.on(model) as edited:
        there, answers = likelihood(edited), text_logits(edited)
        assert there > plain + 1
        raise KeyError
    assert same_state(before, state(model))
    folded = edit.fold(model)
    assert same_state(before, state(model))
    assert torch.equal(text_logits(folded), answers)
    assert torch.equal(text_logits(reloaded(folded, tmp_path / "folded")), answers)


def test_the_key_gets_the_value_and_what_it_does_not_read_keeps_its_own() -> None:
    model = subject()
    edit = rank_one_edit(model, REQUESTS, PROMPTS, LAYER)
    one = rank_one_edit(model, REQUESTS[1:], PROMPTS, LAYER)
    place = len(model.prompt_ids(["The red lamp"])[0]) - 1
    ids = torch.tensor(model.prompt_ids(["The red lamp"]))
    with capture(model.model, [SITE], positions=[place]) as plain:
        logits(model.model, input_ids=ids)
    with one.on(model), capture(model.model, [SITE], positions=[place]) as seen:
        logits(model.model, input_ids=ids)
    torch.testing.assert_close((seen[SITE] - plain[SITE])[0, 0], one.value, rtol=1e-3, atol=1e-3)
    matrix = projections(model.model, [SITE])[SITE].matrix()
    other = torch.randn(matrix.shape[1], generator=torch.Generator().manual_seed(0))
    other -= (other @ edit.key) / (edit.key @ edit.key) * edit.key
    changed = projections(edit.fold(model).model, [SITE])[SITE].matrix()
    torch.testing.assert_close(changed @ other, matrix @ other, rtol=1e-3, atol=1e-3)
    assert int(torch.linalg.matrix_rank(changed - matrix, rtol=1e-4)) == 1


def test_a_longer_search_says_it_more_surely_within_its_length() -> None:
    model = subject()
    found = {}
    for steps in (2, 40):
        edit = rank_one_edit(model, REQUESTS, PROMPTS, LAYER, Search(steps=steps))
        with edit.on(model):
            found[steps] = likelihood(model)
    assert found[40] > found[2]
    short = rank_one_edit(model, REQUESTS, PROMPTS, LAYER, Search(longest=0.1))
    assert float(short.value.norm()) < float(edit.value.norm())


def test_what_is_loaded_does_the_same(tmp_path: Path) -> None:
    model = subject()
    edit = rank_one_edit(model, REQUESTS, PROMPTS, LAYER)
    saved.save(edit, tmp_path)
    with edit.on(model):
        answers = text_logits(model)
    with saved.load(tmp_path).on(model):
        assert torch.equal(text_logits(model), answers)


def test_bad_requests_are_refused() -> None:
    model = subject()
    for requests, clean, said in (
        ([], PROMPTS, "needs requests"),
        (REQUESTS, [], "clean texts"),
        ([Request("The red lamp", "blue lamp", " is wide")], PROMPTS, "'blue lamp' does not occur"),
        ([Request("The red lamp", "", " is wide")], PROMPTS, "'' does not occur"),
        ([Request("The red lamp", "red lamp", "")], PROMPTS, "its target is empty"),
        ([Request("The red lamp " * 80, "red lamp", " is")], PROMPTS, "context window of 128"),
    ):
        with pytest.raises(ConfigError, match=said):
            rank_one_edit(model, requests, clean, LAYER)
    with pytest.raises(ConfigError, match="no layer 3"):
        rank_one_edit(model, REQUESTS, PROMPTS, 3)
    # The subject is not the last token, and what its last block says of it is read by no other.
    with pytest.raises(ConfigError, match=r"layer 2 changes no target.*Name a lower layer"):
        rank_one_edit(model, REQUESTS[:1], PROMPTS, 2)
    with refused("behind the mlp of block 1 stands a norm"):
        rank_one_edit(subject("olmo2"), REQUESTS, PROMPTS, LAYER)


def test_bad_edits_are_refused() -> None:
    model = subject()
    made_for = MadeFor.of(model)
    for key, value, said in (
        (torch.zeros(48), torch.ones(32), "norm zero"),
        (torch.ones(48), torch.zeros(32), "norm zero"),
        (torch.ones(48), torch.ones(31), r"\(31,\)"),
        (torch.ones(1, 48), torch.ones(32), r"\(1, 48\)"),
    ):
        with pytest.raises(ConfigError, match=said):
            RankOneEdit(key, value, made_for, LAYER)
    with refused("an MLP of 40 neurons"):
        RankOneEdit(torch.ones(40), torch.ones(32), made_for, LAYER).fold(model)
