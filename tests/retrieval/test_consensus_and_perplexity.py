from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from defense_kit import Countdown, hits_of, ids, query, suspects, unit

from mithridate.core.errors import CheckpointError, ConfigError
from mithridate.core.types import Document
from mithridate.retrieval.base import Hit
from mithridate.retrieval.consensus import Consensus
from mithridate.retrieval.encodings import Encodings
from mithridate.retrieval.perplexity import PerplexityFilter

TEXTS = [
    "river stone amber lantern orchard violin harbour",
    "river stone amber lantern orchard violin harbours",
    "river stone amber lantern orchard violins harbour",
    "river of stone and meadow",
    "the river",
]


def test_near_copies_go_behind_the_others() -> None:
    encoder = Countdown()
    asked = query(encoder, "river stone amber")
    hits = hits_of(encoder, asked, TEXTS)
    after = Consensus(similarity=0.75, breadth_factor=5).rerank(asked, hits, 1, Encodings(encoder))
    assert suspects(after) == {"0", "1", "2"}
    kept = [hit for hit in ids(hits) if hit in "34"]
    assert ids(after) == [*kept, *(hit for hit in ids(hits) if hit in "012")]
    assert [hit.score for hit in after] == sorted((hit.score for hit in after), reverse=True)
    reason = after[-1].reasons[0]
    assert reason.evidence["cluster"] == 3
    assert set(reason.evidence["others"]) == {"0", "1", "2"} - {after[-1].document.id}
    assert reason.says.startswith("one of 3 near-copies")


def test_a_pair_is_small_enough_where_three_are_asked_for() -> None:
    encoder = Countdown()
    asked = query(encoder, "river stone amber")
    hits = hits_of(encoder, asked, [TEXTS[0], TEXTS[1], TEXTS[4]])
    for smallest, expected in ((2, {"0", "1"}), (3, set())):
        after = Consensus(0.8, smallest, 3).rerank(asked, hits, 1, Encodings(encoder))
        assert suspects(after) == expected


def test_clusters_are_joined_by_the_mean_distance() -> None:
    # Neighbours 20 degrees apart: each pair agrees (cosine .94), the three together do not (mean with the
    # third .85): single linkage would join them all.
    angles = np.radians([0, 20, 40])
    rows = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    hits = [Hit(Document(str(i), "x"), 0.5, vector=row) for i, row in enumerate(rows)]
    encodings = Encodings(Countdown(2))
    asked = query(Countdown(2), "x")
    assert len(suspects(Consensus(0.9, 2, 3).rerank(asked, hits, 1, encodings))) == 2
    assert len(suspects(Consensus(0.84, 2, 3).rerank(asked, hits, 1, encodings))) == 3


def test_a_cosine_equal_to_the_limit_is_within_it() -> None:
    rows = unit(np.array([[1.0, 0], [3, 4]]))  # cosine .6
    hits = [Hit(Document(str(i), "x"), 0.5, vector=row) for i, row in enumerate(rows)]
    for similarity, expected in ((0.6, 2), (0.601, 0)):
        after = Consensus(similarity).rerank(query(Countdown(2), "x"), hits, 1, Encodings(Countdown(2)))
        assert len(suspects(after)) == expected


def test_only_the_breadth_is_clustered() -> None:
    encoder = Countdown()
    asked = query(encoder, "river")
    hits = hits_of(encoder, asked, ["river", "river stone", "meadow", "meadow"])
    assert suspects(Consensus().rerank(asked, hits, 1, Encodings(encoder))) == set()
    assert suspects(Consensus().rerank(asked, hits, 2, Encodings(encoder))) == {"2", "3"}
    assert Consensus().rerank(asked, [], 2, Encodings(encoder)) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"similarity": 1.5}, "between -1 and 1"),
        ({"smallest": 1}, "two members"),
        ({"breadth_factor": 0}, "least 1"),
    ],
)
def test_consensus_settings_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Consensus(**options)


def by_length(texts: Sequence[str]) -> list[float]:
    return [float(len(text)) for text in texts]


def test_unlikely_texts_go_behind_the_others() -> None:
    encoder = Countdown()
    asked = query(encoder, "river")
    hits = hits_of(encoder, asked, ["river", "river river river river", "meadow"])
    before = encoder.encoded
    after = PerplexityFilter(6.0, by_length).rerank(asked, hits, 2, Encodings(encoder))
    assert encoder.encoded == before
    assert ids(after) == ["0", "2", "1"]
    assert suspects(after) == {"1"}
    assert after[2].reasons[0].says == "log-perplexity 23.00, above 6"
    assert after[0].reasons[0].evidence == {"log_perplexity": 5.0, "threshold": 6.0}


@pytest.mark.parametrize("returned", [[1.0], [1.0, math.nan], [1.0, math.inf]])
def test_a_scorer_that_returns_no_scores(returned: list[float]) -> None:
    encoder = Countdown()
    asked = query(encoder, "river")
    hits = hits_of(encoder, asked, ["river", "stone"])
    with pytest.raises(ConfigError, match="expected the log-perplexity of each text"):
        PerplexityFilter(6.0, lambda texts: returned).rerank(asked, hits, 2, Encodings(encoder))


@pytest.mark.parametrize("options", [{}, {"scorer": by_length, "model": "folder"}])
def test_one_scorer_must_be_given(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="either a scorer or the folder of a model"):
        PerplexityFilter(6.0, **options)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    encoder = Countdown()
    asked = query(encoder, "river")
    with pytest.raises(CheckpointError, match="no such folder"):
        PerplexityFilter(6.0, model=str(tmp_path / "none")).rerank(
            asked, hits_of(encoder, asked, ["river"]), 1, Encodings(encoder)
        )


@pytest.mark.shared_data
def test_a_real_model_tells_gibberish_from_a_story(shared_data: Path) -> None:
    encoder = Countdown()
    asked = query(encoder, "girl")
    texts = [
        "Once upon a time, there was a little girl named Lily.",
        "time Lily upon was, girl a a. Once named",
        "",
    ]
    model = str(shared_data.parent / "models" / "stories260K")
    after = PerplexityFilter(4.0, model=model).rerank(
        asked, hits_of(encoder, asked, texts), 2, Encodings(encoder)
    )
    found = {hit.document.id: hit.reasons[0].evidence["log_perplexity"] for hit in after}
    assert found["0"] < 2
    assert found["1"] > 4
    assert found["2"] == 0
    assert suspects(after) == {"1"}
