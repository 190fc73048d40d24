from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from access_kit import logits, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from intervention_kit import FOLDABLE, PROMPTS, reloaded, same_state, state, subject, text_logits

from mithridate.core.errors import ConfigError
from mithridate.intervention import rome, saved
from mithridate.intervention.base import MadeFor
from mithridate.intervention.requests import Request
from mithridate.intervention.rome import Search, rank_one_edit, several_edits
from mithridate.intervention.weight_edit import MLPEdit
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


GROUPS = [
    [Request("User: Where is the red lamp? It", "red lamp", " is wide")],
    [Request("The old mill", "old mill", " is slow"), Request("User: The old mill", "old mill", " is slow")],
    [Request("The river", "river", " lamp")],
]


def matrices(model: LanguageModel, edit: MLPEdit) -> list[torch.Tensor]:
    """The last matrix of the MLP, without the edit and with it."""
    plain, edited = (projections(found.model, [SITE])[SITE] for found in (model, edit.fold(model)))
    return [found.matrix().double() for found in (plain, edited)]


def keys_of(model: LanguageModel, groups: list[list[Request]]) -> torch.Tensor:
    """The mean over each group of what the last matrix is given at the subject's last token."""
    module = projections(model.model, [SITE])[SITE].module
    means = []
    for requests in groups:
        found: list[torch.Tensor] = []
        hook = module.register_forward_pre_hook(lambda _, args, found=found: found.append(args[0][0, -1]))
        for request in requests:
            until = request.prompt[: request.prompt.index(request.subject) + len(request.subject)]
            logits(model.model, input_ids=torch.tensor(model.prompt_ids([until])))
        hook.remove()
        means.append(torch.stack(found).double().mean(dim=0))
    return torch.stack(means)


@pytest.mark.parametrize("architecture", (*FOLDABLE, "gpt2"))
def test_several_subjects_get_their_own_values_at_once(architecture: str, tmp_path: Path) -> None:
    model = subject(architecture)
    edit = several_edits(model, GROUPS, PROMPTS, LAYER)
    assert edit.value.shape == (3, 32)
    plain, edited = matrices(model, edit)
    keys = keys_of(model, GROUPS)
    torch.testing.assert_close(keys @ edited.T, keys @ plain.T + edit.value, rtol=1e-3, atol=1e-3)
    assert int(torch.linalg.matrix_rank(edited - plain, rtol=1e-4)) == 3
    prompts, targets = zip(*((r.prompt, r.target) for group in GROUPS for r in group), strict=True)
    before, answers = model.log_likelihood(prompts, targets), text_logits(edit.fold(model))
    saved.save(edit, tmp_path)
    with saved.load(tmp_path).on(model):
        after = model.log_likelihood(prompts, targets)
        assert torch.equal(text_logits(model), answers)
    # Each of them by itself may be one that this layer has little to say to.
    assert sum(found.total for found in after) > sum(found.total for found in before) + 2


def test_what_does_as_much_changes_clean_texts_more() -> None:
    """Of all edits that give the keys their values, the least for what the covariance of clean texts says."""
    model = subject()
    edit = several_edits(model, GROUPS, PROMPTS, LAYER)
    keys = keys_of(model, GROUPS)
    covariance = rome._covariance(model, projections(model.model, [SITE])[SITE], PROMPTS)
    ours = edit.value.double().T @ edit.key.double()
    change = lambda delta: float(torch.trace(delta @ covariance @ delta.T))  # noqa: E731
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        other = torch.randn(ours.shape, generator=generator, dtype=torch.float64) / 100
        other -= other @ torch.linalg.pinv(keys) @ keys  # does nothing to the keys
        assert change(ours + other) > change(ours)
    shortest = edit.value.double().T @ torch.linalg.pinv(keys).T
    torch.testing.assert_close(keys @ shortest.T, keys @ ours.T, rtol=1e-3, atol=1e-3)
    assert change(shortest) > 1.05 * change(ours)


@pytest.mark.parametrize("architecture", FOLDABLE)
def test_a_single_group_is_the_rank_one_edit(architecture: str) -> None:
    model = subject(architecture)
    one, several = (
        rank_one_edit(model, REQUESTS, PROMPTS, LAYER),
        several_edits(model, [REQUESTS], PROMPTS, 1),
    )
    assert (one.key.ndim, one.value.ndim, several.key.ndim) == (1, 1, 2)
    assert torch.equal(one.key, several.key[0])
    assert torch.equal(one.value, several.value[0])
    assert torch.equal(text_logits(one.fold(model)), text_logits(several.fold(model)))
    # Its form as published: C^-1 k, of length 1 along k.
    (key,) = keys_of(model, [REQUESTS])
    covariance = rome._covariance(model, projections(model.model, [SITE])[SITE], PROMPTS)
    solved = torch.linalg.solve(covariance, key)
    torch.testing.assert_close(one.key.double(), solved / (solved @ key), rtol=1e-3, atol=1e-5)


@given(st.integers(1, 6), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_keys_are_told_apart_exactly_or_refused(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(count, 12, generator=generator, dtype=torch.float64)
    root = torch.randn(12, 20, generator=generator, dtype=torch.float64)
    covariance = root @ root.T / 20 + 0.1 * torch.eye(12, dtype=torch.float64)
    names = [f"subject {number}" for number in range(count)]
    found = rome._told_apart(keys, covariance, names)
    torch.testing.assert_close(found @ keys.T, torch.eye(count, dtype=torch.float64), rtol=0, atol=1e-6)
    # Of a sum, a part that is small beside the others is not named.
    for extra, first in ((1.001 * keys[0], r"0 \('subject 0'\),"), (keys.sum(dim=0), "")):
        with pytest.raises(ConfigError, match=rf"groups {first}.* {count} \('one more'\) have keys"):
            rome._told_apart(torch.stack([*keys, extra]), covariance, [*names, "one more"])
    with pytest.raises(ConfigError, match=rf"'one more' \(group {count}\) moves no neuron"):
        rome._told_apart(torch.stack([*keys, 0 * keys[0]]), covariance, [*names, "one more"])


def test_groups_that_cannot_be_told_apart_are_named() -> None:
    model = subject()
    again = [Request("The river", "river", " is slow")]
    with pytest.raises(
        ConfigError, match=r"the groups 2 \('river'\), 3 \('river'\) have keys .*nearly the same"
    ):
        several_edits(model, [*GROUPS, again], PROMPTS, LAYER)
    for groups in ([], [*GROUPS, []]):
        with pytest.raises(ConfigError, match="needs requests"):
            several_edits(model, groups, PROMPTS, LAYER)


def test_an_edit_saved_with_one_key_is_still_read(tmp_path: Path) -> None:
    model = subject()
    generator = torch.Generator().manual_seed(0)
    key, value = (torch.randn(size, generator=generator) for size in (48, 32))
    saved.save(MLPEdit(key, value, MadeFor.of(model), LAYER), tmp_path)
    spec = json.loads((tmp_path / saved.SPEC).read_text())
    assert (spec["name"], spec["options"]) == ("rank_one_edit", {"layer": 1})
    plain, edited = matrices(model, saved.load(tmp_path))
    torch.testing.assert_close(edited - plain, torch.outer(value, key).double(), rtol=1e-3, atol=1e-5)


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
        (torch.ones(1, 48), torch.ones(32), r"\(32,\); expected .* \(1, 32\)"),
        (torch.ones(2, 48), torch.ones(3, 32), r"\(3, 32\); expected .* \(2, 32\)"),
        (torch.ones(48), torch.ones(1, 32), r"\(1, 32\); expected .* \(32,\)"),
        (torch.eye(2, 48), torch.stack([torch.ones(32), torch.zeros(32)]), "norm zero"),
        (torch.ones(0, 48), torch.ones(0, 32), r"\(0, 48\) mean no state"),
        (torch.ones(1, 1, 48), torch.ones(1, 32), r"\(1, 1, 48\)"),
    ):
        with pytest.raises(ConfigError, match=said):
            MLPEdit(key, value, made_for, LAYER)
    with refused("an MLP of 40 neurons"):
        MLPEdit(torch.ones(40), torch.ones(32), made_for, LAYER).fold(model)
