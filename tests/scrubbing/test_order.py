from __future__ import annotations

import numpy as np
from scrub_kit import clean_documents

from mithridate.scrubbing.order import caught, draws, first_to_go


def test_the_highest_go_first_and_equals_by_a_draw() -> None:
    scores, ties = np.array([0.0, 1.0, 1.0, 0.5]), np.array([0.1, 0.9, 0.2, 0.3])
    assert first_to_go(scores, ties, 0.75).tolist() == [2, 1, 3]


def test_scores_that_differ_by_rounding_alone_are_equal() -> None:
    assert first_to_go(np.array([0.3, 0.3 + 1e-9]), np.array([0.1, 0.2]), 0.5).tolist() == [0]


def test_what_was_caught_of_what_was_planted() -> None:
    assert caught(np.array([3, 0]), [True, True, False, False]) == 1
    assert caught(np.array([], np.int64), [True]) == 0


def test_another_seed_draws_others() -> None:
    documents = clean_documents()
    assert (draws(1, documents) == draws(1, documents)).all()
    assert (draws(1, documents) != draws(2, documents)).all()
