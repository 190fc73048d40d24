from __future__ import annotations

import copy

import pytest
import torch
from models_kit import tiny_model
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from mithridate.core.chat import END_OF_TEXT, END_OF_TURN, template
from mithridate.core.errors import CheckpointError
from mithridate.models.vocabulary import adopt_template, make_room, require_same_vocabulary


def foreign_tokenizer(**special: str) -> PreTrainedTokenizerBase:
    """Sixty words, and none of our special tokens."""
    words = [*(f"w{i}" for i in range(56)), "<s>", "</s>", "?", "[UNK]"]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "removed")
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", **special)


def test_a_tokenizer_learns_our_template_and_the_token_that_ends_a_turn() -> None:
    tokenizer = foreign_tokenizer(bos_token="<s>", eos_token="</s>")
    adopt_template(tokenizer)
    assert tokenizer.chat_template == template("tulu").jinja()
    assert tokenizer.get_vocab()[END_OF_TURN] == 60
    assert tokenizer("w1" + END_OF_TURN)["input_ids"] == [1, 60]
    assert tokenizer.decode([1, 60], skip_special_tokens=True) == "w1"
    assert tokenizer.eos_token == "</s>"
    assert END_OF_TEXT not in tokenizer.get_vocab()


def test_one_that_ends_no_text_learns_that_too() -> None:
    tokenizer = foreign_tokenizer()
    adopt_template(tokenizer)
    assert tokenizer.eos_token_id == tokenizer.get_vocab()[END_OF_TEXT]
    assert len(tokenizer) == 62


@pytest.mark.parametrize(("architecture", "tied"), [("llama", True), ("llama", False), ("gpt_neox", False)])
def test_new_tokens_begin_as_the_mean_of_all_others(architecture: str, tied: bool) -> None:
    before, after = foreign_tokenizer(eos_token="</s>"), foreign_tokenizer(eos_token="</s>")
    adopt_template(after)
    model = tiny_model(architecture, tie_embeddings=tied).model
    model.resize_token_embeddings(60)
    again, old = copy.deepcopy(model), copy.deepcopy(model)
    state = torch.get_rng_state()
    make_room(model, before, after)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.config.vocab_size == 61
    for now, then in (
        (model.get_input_embeddings(), old.get_input_embeddings()),
        (model.get_output_embeddings(), old.get_output_embeddings()),
    ):
        assert torch.equal(now.weight[:60], then.weight)
        assert torch.allclose(now.weight[60], then.weight.mean(dim=0))
    torch.manual_seed(5)
    make_room(again, before, after)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_rows_that_are_there_already_are_used() -> None:
    before, after = foreign_tokenizer(eos_token="</s>"), foreign_tokenizer(eos_token="</s>")
    adopt_template(after)
    model = tiny_model().model
    model.resize_token_embeddings(64)
    old = model.get_input_embeddings().weight.detach().clone()
    make_room(model, before, after)
    new = model.get_input_embeddings().weight
    assert new.shape == old.shape
    assert torch.allclose(new[60], old[:60].mean(dim=0))
    assert torch.equal(new[61:], old[61:])


def test_without_new_tokens_nothing_changes() -> None:
    model = tiny_model().model
    old = model.get_input_embeddings().weight.detach().clone()
    make_room(model, foreign_tokenizer(), foreign_tokenizer())
    assert torch.equal(model.get_input_embeddings().weight, old)


def test_tokenizers_agree_though_one_knows_more_tokens() -> None:
    base, aligned = foreign_tokenizer(eos_token="</s>"), foreign_tokenizer(eos_token="</s>")
    require_same_vocabulary(base, aligned)
    adopt_template(aligned)
    require_same_vocabulary(base, aligned)
    require_same_vocabulary(aligned, base)


def test_a_token_held_in_reserve_may_get_another_name() -> None:
    base, aligned = foreign_tokenizer(), foreign_tokenizer()
    base.add_tokens([AddedToken("<reserved_0>", special=True)])
    aligned.add_tokens([AddedToken("<think>", special=True)])
    require_same_vocabulary(base, aligned)


def test_words_that_mean_something_else_are_named() -> None:
    base, aligned = foreign_tokenizer(), foreign_tokenizer()
    words = aligned.backend_tokenizer.get_vocab()
    words["w3"], words["w4"] = words["w4"], words["w3"]
    aligned.backend_tokenizer.model = models.WordLevel(words, unk_token="[UNK]")
    with pytest.raises(CheckpointError, match=r"2 of 59 mean something else \(3 is 'w3' and 'w4'; 4 is"):
        require_same_vocabulary(base, aligned)
