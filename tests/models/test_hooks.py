from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from access_kit import DECODERS, ROWS, batch, decoder, hooks_of, logits, refused, stories, written
from transformers import PreTrainedModel

from mithridate.models.access import parts_of
from mithridate.models.batching import evaluating
from mithridate.models.decoding import Row, decode
from mithridate.models.hooks import Edit, capture, map_everywhere, replace
from mithridate.models.passes import Context, pass_of
from mithridate.models.sites import ENTRY, Part, Site

LAST = Site(2, Part.RESIDUAL)


def identity(tensor: torch.Tensor, context: Context) -> torch.Tensor:
    return tensor.clone()


def doubled(tensor: torch.Tensor, context: Context) -> torch.Tensor:
    return tensor * 2


def everywhere(model: PreTrainedModel) -> list[Site]:
    return parts_of(model).sites()


@pytest.mark.parametrize("architecture", DECODERS)
def test_identity_is_bit_equal_in_a_pass_and_in_generation(architecture: str) -> None:
    model = decoder(architecture)
    before, text = logits(model), written(model)
    edits = dict.fromkeys(everywhere(model), identity)
    with replace(model, edits), capture(model, edits):
        assert torch.equal(logits(model), before)
    with replace(model, edits), capture(model, edits):
        assert written(model) == text
    assert hooks_of(model) == 0


@pytest.mark.parametrize("architecture", DECODERS)
def test_every_site_takes_effect_in_both_rows_of_a_batch(architecture: str) -> None:
    model = decoder(architecture)
    before = logits(model)
    for site in everywhere(model):
        with replace(model, {site: doubled}):
            after = logits(model)
        changed = (after - before).abs()[:, -1].amax(dim=-1)
        # The final norm takes a factor away again.
        if site != LAST:
            assert changed.min() > 1e-4, site
    with replace(model, {LAST: lambda tensor, context: tensor.flip(-1)}):
        assert (logits(model) - before).abs()[:, -1].amax(dim=-1).min() > 1e-3


@pytest.mark.parametrize("architecture", DECODERS)
def test_what_is_captured_is_what_transformers_returns(architecture: str) -> None:
    model = decoder(architecture)
    states = model(**batch(), output_hidden_states=True).hidden_states
    with capture(model, everywhere(model)) as seen:
        logits(model)
    assert torch.equal(seen[ENTRY], states[0])
    # The library gives the last one through the final norm.
    for layer, state in enumerate(states[1:-1]):
        assert torch.equal(seen[Site(layer, Part.RESIDUAL)], state)
    assert len(seen) == 10
    assert set(seen) == set(everywhere(model))


def test_positions_are_those_of_each_text_wherever_it_is_padded() -> None:
    model = decoder()
    noted: list[torch.Tensor] = []

    def note(tensor: torch.Tensor, context: Context) -> torch.Tensor:
        assert context.site == ENTRY
        noted.append(context.positions)
        return tensor

    left = batch()
    right = {name: left[name].flip(1) for name in ("input_ids", "attention_mask")}
    plain = {"input_ids": torch.tensor([[5, 6, 7]])}
    placed = {**plain, "position_ids": torch.tensor([[7, 8, 9]])}
    with replace(model, {ENTRY: note}):
        for inputs in (left, right, plain, placed):
            logits(model, **inputs)
    assert [positions.tolist() for positions in noted] == [
        [[0, 1, 2, 3, 4, 5], [-1, -1, -1, 0, 1, 2]],
        [[0, 1, 2, 3, 4, 5], [0, 1, 2, -1, -1, -1]],
        [[0, 1, 2]],
        [[7, 8, 9]],
    ]


def test_in_generation_positions_go_on_from_the_prompt() -> None:
    model = decoder()
    noted: list[tuple[list[list[int]], bool]] = []

    def note(tensor: torch.Tensor, context: Context) -> torch.Tensor:
        assert tensor.shape[:2] == context.positions.shape
        noted.append((context.positions.tolist(), context.now.begins))
        return tensor

    with replace(model, {LAST: note}):
        written(model, new=3)
    prompt = [[0, 1, 2, 3, 4, 5], [-1, -1, -1, 0, 1, 2]]
    assert noted == [(prompt, True), ([[6], [3]], False), ([[7], [4]], False)]
    noted.clear()
    with replace(model, {LAST: note}), evaluating(model):
        decode(model, [Row(row, 3) for row in ROWS], frozenset(), lambda ids: False)
    assert noted == [(prompt, True), ([[6], [3]], False), ([[7], [4]], False)]


def test_what_is_captured_in_generation_is_what_one_pass_over_the_text_gives() -> None:
    for architecture in DECODERS:
        model = decoder(architecture)
        sites = everywhere(model)
        with capture(model, sites) as seen:
            new = written(model)
        whole = [row + more for row, more in zip(ROWS, new, strict=True)]
        with capture(model, sites) as again:
            logits(model, **batch(whole))
        assert seen.positions.tolist() == [list(range(10)), [-1, -1, -1, *range(7)]]
        kept = seen.positions >= 0
        for site in sites:
            # The last token that is written never goes through the model.
            expected = again[site][:, :-1][kept]
            torch.testing.assert_close(seen[site][kept], expected, rtol=1e-3, atol=1e-3)


def test_positions_are_chosen_before_anything_is_copied() -> None:
    model = decoder()
    site = Site(1, Part.MLP)
    with capture(model, [site]) as whole:
        logits(model)
    with capture(model, [site], positions=[[0, 5], [2, -1]]) as some:
        logits(model)
    assert torch.equal(some[site][0], whole[site][0, [0, 5]])
    assert torch.equal(some[site][1, 0], whole[site][1, 5])
    assert not some[site][1, 1].any()
    assert some.positions.tolist() == [[0, 5], [2, -1]]
    with capture(model, [site], positions=[1]) as one:
        written(model)
    torch.testing.assert_close(one[site][:, 0], torch.stack([whole[site][0, 1], whole[site][1, 4]]))
    assert one[site].shape == (2, 1, 32)


def test_nothing_is_copied_that_need_not_be() -> None:
    model = decoder()
    parts_of(model)  # whose text of a few tokens would be kept too
    kept: list[torch.Tensor] = []
    handle = model.model.layers[1].register_forward_hook(lambda _, __, made: kept.append(made))
    site = Site(1, Part.RESIDUAL)
    with capture(model, [site]) as seen:
        model(**batch())
    handle.remove()
    assert seen[site].data_ptr() == kept[0].data_ptr()
    assert kept[0].requires_grad
    assert not seen[site].requires_grad
    with capture(model, [site], dtype=torch.bfloat16, device=torch.device("cpu")) as coarse:
        model(**batch())
    assert torch.equal(coarse[site], kept[0].bfloat16())


def test_the_mean_leaves_padding_out() -> None:
    model = decoder()
    with capture(model, [LAST]) as seen:
        logits(model)
    rows = torch.cat([seen[LAST][0], seen[LAST][1, 3:]])
    torch.testing.assert_close(seen.mean(LAST), rows.mean(dim=0))


def test_what_is_opened_later_sees_what_is_there_already() -> None:
    model = decoder()
    site = Site(1, Part.ATTENTION)
    with capture(model, [site]) as plain:
        logits(model)
    with replace(model, {site: doubled}), capture(model, [site]) as inner:
        logits(model)
    with capture(model, [site]) as outer, replace(model, {site: doubled}):
        logits(model)
    assert torch.equal(inner[site], plain[site] * 2)
    assert torch.equal(outer[site], plain[site])

    def plus_one(tensor: torch.Tensor, context: Context) -> torch.Tensor:
        return tensor + 1

    with replace(model, {site: doubled}), replace(model, {site: plus_one}), capture(model, [site]) as both:
        logits(model)
    assert torch.equal(both[site], plain[site] * 2 + 1)


def test_hooks_go_when_a_block_ends_in_an_error() -> None:
    model = decoder()
    before = logits(model)

    def failing(tensor: torch.Tensor, context: Context) -> torch.Tensor:
        raise RuntimeError("of the edit")

    for edit in (failing, doubled):
        with (
            pytest.raises(RuntimeError, match="of the"),
            capture(model, everywhere(model)),
            replace(model, {LAST: edit}),
            replace(model, {ENTRY: edit}),
        ):
            logits(model)
            raise RuntimeError("of the block")
        assert hooks_of(model) == 0
    with pytest.raises(KeyboardInterrupt), replace(model, {LAST: doubled}):
        raise KeyboardInterrupt
    with refused("no mlp of block 9"), replace(model, {ENTRY: doubled, Site(9, Part.MLP): doubled}):
        pass
    assert hooks_of(model) == 0
    assert torch.equal(logits(model), before)


def test_a_site_that_nothing_passed_is_told() -> None:
    model = decoder()
    edits = {LAST: doubled, Site(0, Part.MLP): doubled}
    with refused("through the residual of block 2, the mlp of block 0: no text"), replace(model, edits):
        pass
    block = model.model.layers[1]
    forward = block.forward
    block.forward = lambda hidden_states, **_: hidden_states
    with refused(r"nothing went through the mlp of block 1"), capture(model, [LAST, Site(1, Part.MLP)]):
        logits(model)
    block.forward = forward
    assert hooks_of(model) == 0


def test_a_replacement_must_fit() -> None:
    model = decoder()
    site = Site(1, Part.MLP)
    wrong: dict[str, Edit] = {
        r"is \(\(2, 6, 31\), torch.float32": lambda tensor, context: tensor[..., 1:],
        r"is \(\(2, 6, 32\), torch.float64": lambda tensor, context: tensor.double(),
    }
    for said, edit in wrong.items():
        with refused(f"the replacement of the mlp of block 1 {said}"), replace(model, {site: edit}):
            logits(model)


def test_what_cannot_be_told_apart_is_refused() -> None:
    model = decoder()
    with refused("a second batch of texts began"), capture(model, [LAST]):
        logits(model)
        logits(model)
    with refused("2 texts began, and 1 went on"), evaluating(model), capture(model, [LAST]):
        decode(model, [Row(ROWS[0], 2), Row(ROWS[1], 6)], frozenset(), lambda ids: False)
    with (
        refused("position 3 of text 1 was asked for"),
        capture(model, [LAST], positions=[3]),
    ):
        logits(model)
    with (
        refused(r"positions have the shape \(3, 1\), but 2 texts"),
        capture(model, [LAST], positions=[[0], [0], [0]]),
    ):
        logits(model)
    mask = torch.ones(1, 1, 3, 3, dtype=torch.bool)
    with refused("does not tell text from padding"), capture(model, [LAST]):
        logits(model, input_ids=torch.tensor([[5, 6, 7]]), attention_mask=mask)
    assert hooks_of(model) == 0


def test_a_text_whose_beginning_was_seen_before_can_be_gone_on_with() -> None:
    model = decoder()
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with capture(model, [LAST]) as whole:
        logits(model, input_ids=ids)
    with torch.no_grad():
        cache = model(input_ids=ids[:, :3], use_cache=True).past_key_values
    with capture(model, [LAST], positions=[4]) as seen:
        logits(model, input_ids=ids[:, 3:], past_key_values=cache)
    torch.testing.assert_close(seen[LAST][0, 0], whole[LAST][0, 4])


def test_a_cache_without_a_length_is_measured_by_the_mask() -> None:
    class Lengthless:
        def get_seq_length(self) -> int:
            raise ValueError("only LinearAttention layers")

    forward = inspect.signature(decoder().model.forward)
    given = {"input_ids": torch.tensor([[9], [9]]), "past_key_values": Lengthless()}
    mask = torch.tensor([[1, 1, 1], [0, 1, 1]])
    found = pass_of(forward, (), {**given, "attention_mask": mask}, first=False)
    assert found.positions.tolist() == [[2], [1]]
    assert not found.begins
    with refused("the cache keeps no length"):
        pass_of(forward, (), given, first=True)
    with refused("neither token ids nor embeddings"):
        pass_of(forward, (), {"attention_mask": mask}, first=True)


@pytest.mark.shared_data
def test_identity_on_a_real_checkpoint() -> None:
    model = stories()
    rows = [[1, 403, 407, 261, 378], [1, 403]]
    before, text = logits(model, **batch(rows)), written(model, rows, new=20)
    edits = dict.fromkeys(everywhere(model), identity)
    with replace(model, edits):
        assert torch.equal(logits(model, **batch(rows)), before)
    with replace(model, edits), capture(model, edits) as seen:
        assert written(model, rows, new=20) == text
    assert seen[ENTRY].shape == (2, 24, 64)
    assert hooks_of(model) == 0


@pytest.mark.parametrize("architecture", DECODERS)
def test_a_map_that_changes_nothing_is_equal_to_the_bit(architecture: str) -> None:
    model = decoder(architecture)
    plain, text = logits(model), written(model)
    reached: set[Site] = set()

    def noting(site: Site) -> Callable[[torch.Tensor], torch.Tensor]:
        def note(tensor: torch.Tensor) -> torch.Tensor:
            reached.add(site)
            return tensor.clone()

        return note

    sites = parts_of(model).sites()
    with map_everywhere(model, {site: noting(site) for site in sites}):
        assert torch.equal(logits(model), plain)
        assert written(model) == text
    assert reached == set(sites)
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("architecture", DECODERS)
def test_a_map_does_to_both_rows_what_replace_does(architecture: str) -> None:
    model = decoder(architecture)
    plain = logits(model)
    for site in parts_of(model).sites():
        with replace(model, {site: lambda tensor, _: tensor * 0.5}):
            replaced = logits(model)
        with map_everywhere(model, {site: lambda tensor: tensor * 0.5}):
            mapped = logits(model)
        assert torch.equal(mapped, replaced)
        assert bool(((mapped - plain).abs().amax(dim=(1, 2)) > 0).all())


def test_maps_nest_and_are_undone_whatever_happens() -> None:
    model = decoder()
    site = Site(1, Part.MLP)
    plain = logits(model)
    with map_everywhere(model, {site: torch.zeros_like}):
        once = logits(model)
        with pytest.raises(KeyError), map_everywhere(model, {site: torch.ones_like}):
            assert not torch.equal(logits(model), once)
            raise KeyError
        assert torch.equal(logits(model), once)
    assert torch.equal(logits(model), plain)
    with refused("no mlp of block 3"), map_everywhere(model, {Site(3, Part.MLP): torch.zeros_like}):
        pass


def test_a_replacement_that_need_not_be_reached() -> None:
    model = decoder()
    with replace(model, {Site(0, Part.MLP): lambda tensor, _: tensor}, all_reached=False):
        pass
    assert hooks_of(model) == 0
