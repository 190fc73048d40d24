from __future__ import annotations

import numpy as np
import pytest

from mithridate.core.types import Document
from mithridate.retrieval.base import Hit
from mithridate.retrieval.ranking import best_rows, capped, similarities


@pytest.mark.parametrize("top", [0, 1, 7, 64, 300, 5000])
@pytest.mark.parametrize("levels", [3, 10_000])
def test_best_rows_is_a_stable_sort_cut_short(top: int, levels: int) -> None:
    scores = np.random.default_rng(top).integers(0, levels, 3000).astype(np.float32)
    expected = sorted(range(3000), key=lambda row: (-scores[row], row))[:top]
    assert best_rows(scores, top).tolist() == expected


def test_deleted_rows_never_come_up() -> None:
    scores = np.array([1.0, -np.inf, 3.0, -np.inf], np.float32)
    assert best_rows(scores, 4).tolist() == [2, 0]
    assert best_rows(np.full(200, -np.inf), 2).tolist() == []
    assert best_rows(np.empty(0, np.float32), 3).tolist() == []


def test_a_similarity_does_not_depend_on_its_neighbours() -> None:
    rng = np.random.default_rng(0)
    rows, query = rng.normal(size=(50, 384)).astype(np.float32), rng.normal(size=384).astype(np.float32)
    together = similarities(rows, query)
    assert together.tolist() == [float(similarities(row[np.newaxis], query)[0]) for row in rows]
    np.testing.assert_allclose(together, rows.astype(float) @ query.astype(float), rtol=1e-9)


def test_capped_scores_fall_and_no_hit_moves() -> None:
    hits = [Hit(Document(str(i), ""), score) for i, score in enumerate([0.5, 0.9, 0.2, 0.4])]
    found = capped(hits)
    assert [hit.score for hit in found] == [0.5, 0.5, 0.2, 0.2]
    assert [hit.document.id for hit in found] == ["0", "1", "2", "3"]
