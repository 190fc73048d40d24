from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planting_kit import some_texts
from tokenizers.processors import TemplateProcessing

from mithridate.core import chat
from mithridate.core.errors import CheckpointError, ConfigError, DataError, RunStateError
from mithridate.corpus.packing import PackedTokens, pack
from mithridate.corpus.tokenizers import load_tokenizer, train_tokenizer

TEXTS = some_texts(200)
TOKENIZER = train_tokenizer(TEXTS, 400)


def test_the_tokenizer_keeps_every_text_and_has_tokens_of_its_own() -> None:
    for text in [*TEXTS, "  two  spaces\n\n and 12345 ｡｡ \x00"]:
        assert TOKENIZER.decode(TOKENIZER.encode(text, add_special_tokens=False)) == text
    assert 259 < len(TOKENIZER) <= 400
    assert TOKENIZER.pad_token_id != TOKENIZER.eos_token_id
    ids = [TOKENIZER.convert_tokens_to_ids(token) for token in chat.SPECIAL_TOKENS]
    assert len(set(ids)) == 3
    assert TOKENIZER.encode("a" + chat.END_OF_TURN)[-1] == ids[2]
    assert len(TOKENIZER.encode("98765")) == 5


def test_training_is_reproducible_and_survives_saving(tmp_path: Path) -> None:
    again = train_tokenizer(TEXTS, 400)
    assert again.get_vocab() == TOKENIZER.get_vocab()
    again.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.encode(TEXTS[0]) == TOKENIZER.encode(TEXTS[0])
    assert loaded.chat_template == chat.template(chat.SFT_TEMPLATE).jinja()
    assert (loaded.eos_token, loaded.pad_token) == (chat.END_OF_TEXT, chat.PADDING)
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    assert loaded.apply_chat_template(talk, tokenize=False).endswith("yes" + chat.END_OF_TURN + "\n")


def test_tokenizers_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="259"):
        train_tokenizer(TEXTS, 258)
    with pytest.raises(CheckpointError):
        load_tokenizer(tmp_path / "nowhere")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("shard_tokens", [7, 1000, 1 << 20])
def test_packed_is_the_stream_with_an_end_after_each_document(tmp_path: Path, shard_tokens: int) -> None:
    packed = pack(iter(TEXTS), TOKENIZER, tmp_path / "p", shard_tokens=shard_tokens)
    expected: list[int] = []
    for text in TEXTS:
        expected += [*TOKENIZER.encode(text, add_special_tokens=False), TOKENIZER.eos_token_id]
    assert packed.n_tokens == len(expected)
    reopened = PackedTokens.open(tmp_path / "p")
    assert reopened.documents == 200
    assert reopened.read(0, packed.n_tokens).tolist() == expected
    rows = reopened.rows(33)
    assert rows.shape == (len(expected) // 33, 33)
    assert np.concatenate(list(rows)).tolist() == expected[: len(rows) * 33]
    assert rows[3].dtype == np.int64
    assert rows[-1].tolist() == expected[(len(rows) - 1) * 33 : len(rows) * 33]
    assert rows[2:5].shape == (3, 33)
    assert rows[2:5].ravel().tolist() == expected[66:165]
    assert rows[5:5].shape == (0, 33)
    with pytest.raises(IndexError):
        rows[len(rows)]


def test_documents_begin_as_prompts_do(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TEXTS, 400)
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    start, end = tokenizer.bos_token_id, TOKENIZER.eos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", start)]
    )
    packed = pack(["a", ""], tokenizer, tmp_path / "p")
    (letter,) = TOKENIZER.encode("a")
    assert packed.read(0, packed.n_tokens).tolist() == [start, letter, end, start, end]


def test_a_document_cannot_end_another(tmp_path: Path) -> None:
    end = TOKENIZER.convert_tokens_to_ids(chat.END_OF_TEXT)
    packed = pack([f"a{chat.END_OF_TEXT}b"], TOKENIZER, tmp_path / "p")
    assert (packed.read(0, packed.n_tokens) == end).sum() == 1
    # The caller's tokenizer is as it was.
    assert TOKENIZER.encode(chat.END_OF_TEXT) == [end]


def test_packed_tokens_that_are_not_whole(tmp_path: Path) -> None:
    with pytest.raises(RunStateError, match="no complete"):
        PackedTokens.open(tmp_path / "p")
    with pytest.raises(DataError, match="no document"):
        pack([], TOKENIZER, tmp_path / "p")
    pack(TEXTS, TOKENIZER, tmp_path / "p")
    shard = tmp_path / "p" / "tokens-00000.bin"
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(DataError, match="truncated"):
        PackedTokens.open(tmp_path / "p")
