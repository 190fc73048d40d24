from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench_kit import a_cost, bench_task

from mithridate.core.errors import ConfigError
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.measuring.options import BenchOptions
from mithridate.retrieval.measuring.records import Figure, load_result, save_result
from mithridate.retrieval.measuring.tune import Candidate, TuneResult, choose, run_tuning
from mithridate.retrieval.task import RetrievalTask

QUICK = BenchOptions(
    attacks=("query_as_poison", "wrong_context"),
    defenses=("mean_of_fragments", "consensus"),
    top_ks=(3,),
    queries=None,
    timed_queries=1,
)


def figure(value: float) -> Figure:
    return Figure(value=value, low=None, high=None, n=10)


def candidate(defense: str, asr: float, *, within: bool = True, **cost: Any) -> Candidate:
    return Candidate(
        defense=defense, asr=figure(asr), ndcg_loss=figure(0), cost=a_cost(**cost), within_budget=within
    )


def test_the_lowest_asr_within_the_budget_is_taken() -> None:
    given = [
        candidate("plain", 0.9),
        candidate("good", 0.3, encodings=50),
        candidate("lossy", 0.0, within=False),
    ]
    assert choose(given) == "good"


def test_among_alike_the_cheapest_is_taken() -> None:
    best = candidate("best", 0.30, encodings=50)
    assert choose([candidate("plain", 0.9), best, candidate("cheap", 0.315, encodings=2)]) == "cheap"
    assert choose([candidate("plain", 0.9), best, candidate("worse", 0.33, encodings=2)]) == "best"


def test_encodings_count_before_time_and_time_before_size() -> None:
    slow, quick = candidate("slow", 0.3, encodings=2, ms=90), candidate("quick", 0.3, encodings=3, ms=1)
    assert choose([slow, quick]) == "slow"
    large, small = candidate("large", 0.3, ms=1, size=900), candidate("small", 0.3, ms=5, size=10)
    assert choose([large, small]) == "large"
    # A hundredth of a millisecond is no difference.
    assert choose([large, small.model_copy(update={"cost": a_cost(ms=1.01, size=10)})]) == "small"


def test_where_nothing_helps_nothing_is_taken() -> None:
    assert choose([candidate("plain", 0.3), candidate("idle", 0.3, encodings=1)]) == "plain"


def test_a_choice_is_reported_on_other_queries(tmp_path: Path) -> None:
    result = run_tuning(bench_task(), HashingEncoder(64), 1.0, QUICK, folder=tmp_path / "run")
    tuned, held_out = ([row.query for row in one.clean[0].rows] for one in (result.tuning, result.held_out))
    assert len(tuned) == len(held_out) == 4
    assert not set(tuned) & set(held_out)
    assert {one.defense for one in result.candidates} == {"plain", "mean_of_fragments", "consensus"}
    assert [one.defense for one in result.outcomes] == list(dict.fromkeys(["plain", result.chosen]))
    chosen = next(one for one in result.candidates if one.defense == result.chosen)
    assert chosen.within_budget
    save_result(result, tmp_path / "tuned.json")
    assert load_result(tmp_path / "tuned.json", TuneResult) == result


def test_nothing_beyond_the_budget_is_taken() -> None:
    result = run_tuning(bench_task(), HashingEncoder(64), 0.0, QUICK)
    for one in result.candidates:
        assert one.within_budget is (one.ndcg_loss.value <= 0)
    assert next(one for one in result.candidates if one.defense == result.chosen).within_budget


@pytest.mark.parametrize(
    ("budget", "options", "says"),
    [
        (2.0, QUICK, "0.02 are two points"),
        (-0.1, QUICK, "must lie between 0 and 1"),
        (0.1, BenchOptions(attacks=()), "no attack is named"),
        (0.1, BenchOptions(query_ids=["q-amber", "q-barley", "q-cinder"]), "3 queries have a relevant"),
    ],
)
def test_what_cannot_be_tuned(budget: float, options: BenchOptions, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        run_tuning(bench_task(), HashingEncoder(64), budget, options)


def test_without_judgements_nothing_can_be_chosen() -> None:
    task = bench_task()
    with pytest.raises(ConfigError, match="0 queries have a relevant document"):
        run_tuning(RetrievalTask(task.documents, task.queries, {}), HashingEncoder(64), 0.1, QUICK)


def test_attacks_without_texts_choose_nothing() -> None:
    task = bench_task()
    options = BenchOptions(attacks=("wrong_context",), defenses=(), timed_queries=1)
    bare = RetrievalTask(task.documents, task.queries, task.qrels)
    with pytest.raises(ConfigError, match="no attack has a text"):
        run_tuning(bare, HashingEncoder(64), 0.1, options)
