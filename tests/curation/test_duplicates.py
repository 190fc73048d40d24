from __future__ import annotations

import random

import numpy as np
import pytest
from curation_kit import sentence

from mithridate.curation.duplicates import exact_duplicates, near_duplicates
from mithridate.curation.signatures import PLACES, Signer


def runs(words: list[str]) -> set[tuple[str, ...]]:
    padded = [*words, "", ""]
    return {tuple(padded[i : i + 3]) for i in range(len(words))}


def test_signatures_agree_as_often_as_texts_share_runs_of_words() -> None:
    rng = random.Random(1)
    errors = []
    for changed in range(0, 100, 4):
        one = [f"w{rng.randrange(10**6)}" for _ in range(200)]
        other = list(one)
        for place in rng.sample(range(200), changed):
            other[place] = f"x{place}"
        true = len(runs(one) & runs(other)) / len(runs(one) | runs(other))
        first, second = Signer().sign([one, other])
        errors.append((first == second).mean() - true)
    # Of 64 places, the standard error of one estimate is at most 0.0625.
    assert abs(np.mean(errors)) < 0.03
    assert np.max(np.abs(errors)) < 0.25


def test_a_signature_depends_on_its_own_text_alone() -> None:
    rng = random.Random(0)
    texts = [sentence(rng, n).split() for n in (1, 2, 3, 30)] + [[], ["a"]]
    together = Signer().sign(texts)
    assert together.shape == (6, PLACES)
    for text, row in zip(texts, together, strict=True):
        assert (Signer().sign([text])[0] == row).all()
    assert len({row.tobytes() for row in together}) == len(texts)


def test_of_equal_ones_the_first_in_order_stays() -> None:
    digests = np.array([7, 5, 7, 5, 9, 7], np.uint64)
    order = np.array([5, 4, 3, 2, 1, 0])
    assert exact_duplicates(digests, order).tolist() == [5, 3, 5, -1, -1, -1]


def test_near_duplicates_point_to_one_that_stays() -> None:
    rng = random.Random(2)
    texts: list[list[str]] = []
    for _ in range(150):
        words = [f"w{rng.randrange(5000)}" for _ in range(120)]
        again = list(words)
        again[60] = "another"
        texts += [words, again]
    found = near_duplicates(Signer().sign(texts), 0.8)
    assert found[0::2].tolist() == [-1] * 150
    assert found[1::2].tolist() == list(range(0, 300, 2))


@pytest.mark.parametrize("copies", [2, 500])
def test_a_crowd_of_copies_leaves_one(copies: int) -> None:
    found = near_duplicates(Signer().sign([["the", "same", "words"]] * copies), 1.0)
    assert found.tolist() == [-1] + [0] * (copies - 1)
