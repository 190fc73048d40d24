from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from defense_kit import Countdown, hits_of, query

from mithridate.core.errors import EncoderError
from mithridate.core.types import Document
from mithridate.retrieval.base import Hit, TextRole, Vectors
from mithridate.retrieval.encodings import Encodings, VectorMemory
from mithridate.retrieval.masking import Masking


def test_the_same_text_is_encoded_once_and_counted_once() -> None:
    encoder = Countdown()
    encodings = Encodings(encoder)
    rows = encodings.documents(["one", "two", "one"])
    np.testing.assert_array_equal(rows, Countdown().encode(["one", "two", "one"]))
    encodings.documents(["two"])
    assert encodings.count == encoder.encoded == 2
    encodings.reset()
    encodings.masked("one two three", Masking(1))
    encodings.masked("one two three", Masking(1))
    assert encodings.count == 3
    assert encoder.encoded == 5


def test_a_blank_text_is_like_nothing_and_never_encoded() -> None:
    encodings = Encodings(Countdown())
    assert not encodings.documents(["", " \n"]).any()
    spans, rows = encodings.masked("word", Masking(8))
    assert spans == [(0, 4)]
    assert not rows.any()
    assert encodings.masked("  ", Masking(8))[0] == []
    assert encodings.count == 0


def test_memories_are_shared_and_counts_are_not() -> None:
    memory = VectorMemory()
    first, second = Encodings(Countdown(), memory=memory), Encodings(Countdown(), memory=memory)
    first.documents(["one"])
    second.documents(["one", "two"])
    assert (first.count, second.count) == (1, 1)


def test_memory_is_bounded() -> None:
    memory = VectorMemory(2)
    for name in (b"a", b"b"):
        memory.put(name, np.ones(3, np.float32))
    memory.get(b"a")
    memory.put(b"c", np.ones(3, np.float32))
    assert [memory.get(name) is None for name in (b"a", b"b", b"c")] == [False, True, False]


def test_hits_that_bring_their_vector_are_not_encoded() -> None:
    encoder = Countdown()
    asked = query(encoder, "river stone")
    hits = hits_of(encoder, asked, ["river", "stone", "amber"])
    hits[1] = Hit(hits[1].document, 0.0)
    encodings = Encodings(encoder)
    np.testing.assert_array_equal(
        encodings.of_hits(hits), encoder.encode([hit.document.text for hit in hits])
    )
    assert encodings.count == 1
    assert encodings.of_hits([]).shape == (0, 256)


def test_a_vector_of_another_encoder_is_refused() -> None:
    hit = Hit(Document("a", "text"), 0.0, vector=np.ones(3, np.float32))
    with pytest.raises(EncoderError, match="filled by another encoder"):
        Encodings(Countdown()).of_hits([hit])


@pytest.mark.parametrize("bad", [np.full((1, 256), np.nan, np.float32), np.ones((2, 256), np.float32)])
def test_what_is_no_vector_is_refused(bad: Vectors) -> None:
    class Broken(Countdown):
        def encode(self, texts: Sequence[str], *, role: TextRole = TextRole.DOCUMENT) -> Vectors:
            return bad

    with pytest.raises(EncoderError, match="not finite; expected"):
        Encodings(Broken()).documents(["text"])


def test_long_texts_are_masked_a_few_at_a_time() -> None:
    batches: list[int] = []

    class Watched(Countdown):
        def encode(self, texts: Sequence[str], *, role: TextRole = TextRole.DOCUMENT) -> Vectors:
            batches.append(sum(map(len, texts)))
            return np.ones((len(texts), self.dimension), np.float32)

    text = "word " * 30_000
    Encodings(Watched()).masked(text, Masking(8, most_spans=10))
    assert len(batches) > 1
    assert max(batches) < 2_000_000
