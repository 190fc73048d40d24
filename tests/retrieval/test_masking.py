from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from defense_kit import Countdown

from mithridate.core.errors import ConfigError
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.masking import FEWEST_SPANS, MOST_CHARACTERS, Masking, without


def test_spans_and_the_texts_without_them() -> None:
    found = list(Masking(2).masked_texts("one two  three four five", Countdown()))
    assert found == [
        ((0, 7), "  three four five"),
        ((9, 19), "one two   five"),
        ((20, 24), "one two  three four "),
    ]


def test_overlapping_spans_end_with_the_text() -> None:
    assert Masking(4, stride=2).token_ranges(9) == [(0, 4), (2, 6), (4, 8), (6, 9)]
    assert Masking(4, stride=2).token_ranges(8) == [(0, 4), (2, 6), (4, 8)]
    assert Masking(8).token_ranges(3) == [(0, 3)]
    assert Masking(8).token_ranges(0) == []


def test_a_long_text_has_longer_spans_instead_of_more() -> None:
    assert len(Masking(8, most_spans=256).token_ranges(2048)) == 256
    for tokens in (2049, 100_000):
        ranges = Masking(8, most_spans=256).token_ranges(tokens)
        assert len(ranges) <= 256
        assert ranges[0][0] == 0
        assert ranges[-1][1] == tokens


def test_the_copies_of_a_text_are_bounded_in_characters() -> None:
    whole = Masking(8, most_spans=256)
    assert whole.token_ranges(2048, 15_625) == whole.token_ranges(2048)
    assert whole.token_ranges(2048, 15_626) != whole.token_ranges(2048)
    for masking in (whole, Masking(8, stride=2)):
        for characters in (20_000, 100_000, 1_000_000, 50_000_000):
            tokens = characters // 5
            ranges = masking.token_ranges(tokens, characters)
            assert len(ranges) * characters <= max(MOST_CHARACTERS, FEWEST_SPANS * characters)
            assert (ranges[0][0], ranges[-1][1]) == (0, tokens)
            assert all(later[0] <= before[1] for before, later in pairwise(ranges))
    # Few spans that were asked for stay few.
    assert len(Masking(8, most_spans=2).token_ranges(10**6, 10**7)) == 2


def test_one_long_text_is_not_copied_256_times() -> None:
    text = "word " * 200_000
    copies = [len(copy) for _, copy in Masking().masked_texts(text, HashingEncoder())]
    assert len(copies) == FEWEST_SPANS
    assert sum(copies) <= MOST_CHARACTERS


def test_each_token_of_a_span_is_masked_by_its_own_mask() -> None:
    found = list(Masking(2, form="mask").masked_texts("one two three", Countdown()))
    assert [text for _, text in found] == ["[MASK] [MASK] three", "one two [MASK]"]
    with pytest.raises(ConfigError, match="no mask token; use form='delete'"):
        list(Masking(2, form="mask").masked_texts("one two three", HashingEncoder()))


def test_what_is_taken_out_leaves_no_new_word_behind() -> None:
    assert without("river stone", [(3, 7)]) == "riv tone"
    assert without("river stone", [(3, 6)]) == "riv stone"
    assert without("river stone", [(3, 7)], "[MASK]") == "riv[MASK]tone"
    assert without("river stone", [(0, 3), (2, 5), (5, 6)]) == "stone"
    assert without("river stone", [(0, 9), (2, 5)]) == "ne"
    assert without("river stone", [(0, 11)]) == ""
    assert without("river stone", []) == "river stone"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"span_tokens": 0}, "at least 1"),
        ({"most_spans": 0}, "at least 1"),
        ({"stride": 9}, "would never be masked"),
        ({"stride": 0}, "would never be masked"),
        ({"form": "blank"}, "'delete' or 'mask'"),
    ],
)
def test_maskings_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Masking(**options)
