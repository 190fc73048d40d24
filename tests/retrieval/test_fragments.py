from __future__ import annotations

import numpy as np
import pytest
from defense_kit import random_fragments, unit

from mithridate.core.errors import ConfigError
from mithridate.retrieval.fragments import combination_norms, fragments, membership, rejoined


def test_the_longer_fragments_come_first() -> None:
    assert fragments("a b\tc  d\ne f g", 3) == ["a b\tc", "d\ne", "f g"]
    assert fragments(" one  two ", 1) == [" one  two "]


@pytest.mark.parametrize("text", ["", " \n", "word", "four words are these"])
def test_a_text_of_too_few_words_stays_whole_in_every_fragment(text: str) -> None:
    assert fragments(text, 5) == [text] * 5


@pytest.mark.parametrize("text", ["毒" * 100, "what-is-the-capital-of-france?" * 5])
def test_a_text_without_white_space_is_cut_all_the_same(text: str) -> None:
    found = fragments(text, 5)
    assert "".join(found) == text
    assert max(map(len, found)) <= 40
    assert min(map(len, found)) >= 10


def test_a_han_character_is_a_word() -> None:
    assert fragments("毒と薬 is poison", 5) == ["毒", "と", "薬", "is", "poison"]
    assert fragments("毒" * 7, 3) == ["毒毒毒", "毒毒", "毒毒"]


def test_combinations_are_rejoined_in_their_order() -> None:
    assert rejoined(["a", "b", "c"], 2) == ["a b", "a c", "b c"]
    assert membership(3, 2).tolist() == [[1, 1, 0], [1, 0, 1], [0, 1, 1]]


def test_norms_are_the_lengths_of_means() -> None:
    vectors = random_fragments(0, 2500, 4, 6)
    made = [
        np.linalg.norm(vectors[:, list(chosen)].astype(np.float64).mean(axis=1), axis=1)
        for chosen in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
    ]
    np.testing.assert_allclose(combination_norms(vectors, 2), np.transpose(made), rtol=1e-6)
    assert (combination_norms(vectors, 1) == 1).all()


def test_fragments_that_cancel_out_have_no_length() -> None:
    vectors = unit(np.array([[[1.0, 2.0], [-1.0, -2.0]]]))
    assert combination_norms(vectors, 2)[0, 0] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(
    ("n", "k", "words"), [(3, 4, "between 1 and"), (3, 0, "between 1 and"), (20, 10, "184756")]
)
def test_impossible_combinations(n: int, k: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        membership(n, k)
