from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from index_kit import Plainest, lengths

from mithridate.core.errors import EncoderError, UnknownNameError
from mithridate.retrieval.base import Encoder, TextRole
from mithridate.retrieval.encoders import HashingEncoder, as_encoder, encode_in_batches, open_encoder
from mithridate.retrieval.encoders.cache import CachedEncoder


class Returning:
    """Gives a vector for the first question after its dimension, then whatever it is told to."""

    def __init__(self, then: Any) -> None:
        self.then: Any = then
        self.asked = 0

    def encode(self, texts: list[str]) -> Any:
        self.asked += 1
        return [[1.0, 2.0]] * len(texts) if self.asked == 1 else self.then


def test_anything_with_encode_gives_unit_vectors() -> None:
    encoder = as_encoder(Plainest())
    rows = encoder.encode(["banana", "x"])
    assert isinstance(encoder, Encoder)
    assert rows.dtype == np.float32
    assert encoder.dimension == 3
    assert np.allclose(lengths(rows), 1)
    # The direction is that of what was returned.
    assert np.allclose(rows[0] * np.linalg.norm([18, 3, 3]), [18, 3, 3], atol=1e-4)


def test_an_encoder_comes_back_as_it_is() -> None:
    encoder = HashingEncoder()
    assert as_encoder(encoder) is encoder


def test_it_is_asked_in_batches() -> None:
    source = Plainest()
    as_encoder(source, batch_size=4).encode(["t"] * 10)
    assert source.batches == [1, 4, 4, 2]


def test_no_texts_give_no_rows() -> None:
    assert as_encoder(Plainest()).encode([]).shape == (0, 3)


def test_identity_is_the_name_that_is_given() -> None:
    assert as_encoder(Plainest(), name="ours-2").identity == "ours-2:3"
    assert "index_kit.Plainest" in as_encoder(Plainest()).identity


@pytest.mark.parametrize(
    ("then", "told"),
    [
        ([[1.0, float("nan")]], r"text 0 \('second'\) is not finite"),
        ([[1.0, float("inf")]], "is not finite"),
        ([[0.0, 0.0]], "is zero"),
        ([[1.0, 2.0, 3.0]], "dimension 2"),
        ([[1.0, 2.0]] * 2, r"shape \(2, 2\) for 1 texts"),
        ([1.0, 2.0], r"shape \(2,\)"),
        ("nothing", "no array of numbers"),
        (None, "expected one row a text|no array"),
        ([[]], "shape"),
    ],
)
def test_what_is_no_vector_is_refused(then: Any, told: str) -> None:
    encoder = as_encoder(Returning(then))
    with pytest.raises(EncoderError, match=told):
        encoder.encode(["second"])


def test_the_text_of_a_bad_row_is_named_and_cut() -> None:
    encoder = as_encoder(Returning([[1.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(EncoderError, match=r"text 1 \('yyy") as raised:
        encoder.encode(["x", "y" * 500])
    assert len(str(raised.value)) < 250


def test_very_large_and_small_numbers_keep_their_direction() -> None:
    encoder = as_encoder(Returning([[1e300, 1e300], [3e-310, 4e-310]]))
    assert np.allclose(encoder.encode(["a", "b"]), [[0.5**0.5] * 2, [0.6, 0.8]], atol=1e-3)


def test_no_encoder_is_refused() -> None:
    with pytest.raises(EncoderError, match="'int' is no encoder"):
        as_encoder(3)  # type: ignore[arg-type]
    with pytest.raises(EncoderError, match="batch_size"):
        as_encoder(Plainest(), batch_size=0)


def test_lone_surrogates_reach_no_encoder() -> None:
    class Utf8Only:
        def encode(self, texts: list[str]) -> Any:
            return [[float(len(text.encode())), 1.0] for text in texts]

    assert as_encoder(Utf8Only()).encode(["a\ud800b"]).shape == (1, 2)
    assert HashingEncoder().encode(["a\ud800b", "\udfff"]).shape == (2, 256)


def test_progress_is_told_piece_by_piece() -> None:
    told: list[tuple[int, int | None]] = []
    texts = [f"text {i}" for i in range(10)]
    encoder = HashingEncoder(32)
    rows = encode_in_batches(encoder, texts, at_once=4, progress=lambda *done: told.append(done))
    assert told == [(4, 10), (8, 10), (10, 10)]
    assert np.array_equal(rows, encoder.encode(texts))


def test_hashing_finds_the_text_with_the_words() -> None:
    encoder = HashingEncoder()
    texts = ["the heron stands in the river", "a violin of walnut", "copper and amber", ""]
    query = encoder.encode(["a heron in a river"], role=TextRole.QUERY)[0]
    assert int(np.argmax(encoder.encode(texts) @ query)) == 0


def test_hashing_is_the_same_in_every_process() -> None:
    # A hash that depended on the process would make saved indexes worthless.
    row = HashingEncoder(8).encode(["heron"])[0]
    assert np.allclose(row, [0, -0.971286, 0, 0, -0.097129, 0, -0.194257, 0.097129], atol=1e-5)


def test_hashing_needs_two_dimensions() -> None:
    with pytest.raises(EncoderError, match="at least 2"):
        HashingEncoder(1)


def test_token_spans_are_words() -> None:
    text = " ab  c\n\ud800x "
    assert [text[a:b] for a, b in HashingEncoder().token_spans(text)] == ["ab", "c", "\ud800x"]
    assert as_encoder(Plainest()).token_spans(text) == HashingEncoder().token_spans(text)
    assert as_encoder(Plainest()).mask_text is None


def test_open_encoder_by_name(tmp_path: Any) -> None:
    assert open_encoder("hashing").identity == HashingEncoder().identity
    cached = open_encoder("hashing", cache=tmp_path / "cache")
    assert isinstance(cached, CachedEncoder)
    assert np.array_equal(cached.encode(["x"]), HashingEncoder().encode(["x"]))
    with pytest.raises(UnknownNameError, match="did you mean 'minilm'"):
        open_encoder("minilmm")
