from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from bench_kit import FILLING, bench_task, benched
from index_kit import CountingEncoder

from mithridate.core.artifacts import exclusive
from mithridate.core.errors import ConfigError, RunStateError, UnknownNameError
from mithridate.core.types import Document
from mithridate.retrieval.controls import Plain
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.index import GuardedIndex
from mithridate.retrieval.measuring.benchmark import ASKING, CELLS, ENCODING, run_benchmark
from mithridate.retrieval.measuring.cells import PlantedTexts
from mithridate.retrieval.measuring.options import BenchOptions
from mithridate.retrieval.measuring.records import BenchResult
from mithridate.retrieval.ragmask import RAGMask
from mithridate.retrieval.task import RetrievalTask


def without_times(result: BenchResult) -> dict[str, Any]:
    found = result.model_dump()
    for clean in found["clean"]:
        for key in ("ms_median", "ms_p95", "build_seconds"):
            del clean["cost"][key]
    return found


def test_poison_that_is_the_query_comes_up_and_is_counted() -> None:
    result = benched(attacks=("query_as_poison",), copies=(1, 3))
    assert [one.defense for one in result.clean] == ["plain", "ragpart"]
    assert [(one.copies, one.planted, one.defense) for one in result.attacked] == [
        (1, 8, "plain"),
        (1, 8, "ragpart"),
        (3, 24, "plain"),
        (3, 24, "ragpart"),
    ]
    plain = result.attack_of("query_as_poison", 3, "plain")
    assert [at.k for at in plain.at] == [1, 3]
    assert plain.at[1].asr.value > 0.5
    for row in plain.rows:
        for found in row.found:
            assert len(found.own) <= 3
            assert not set(found.own) & (set(found.others) | set(found.relevant))
    assert result.attacks[0].attacked == 8
    assert result.attacks[0].examples[0].query in result.attacks[0].examples[0].text


def test_the_clean_corpus_is_measured_without_poison() -> None:
    with_attack, without = benched(attacks=("query_as_poison",)), benched(attacks=())
    assert [one.rows for one in with_attack.clean] == [one.rows for one in without.clean]
    plain = without.clean_of("plain")
    assert plain.ndcg is not None
    assert plain.ndcg.value > 0.9
    assert plain.ndcg_loss is not None
    assert plain.ndcg_loss.value == 0
    assert plain.at[0].dropped_hits.value == 0
    assert without.attacked == []


def test_what_demotion_pushed_behind_the_answer_counts_as_dropped() -> None:
    led = [f"where does one find things nowadays {' '.join(FILLING[i : i + 11])}" for i in range(3)]
    task = bench_task().with_documents([Document(f"led-{i}", text) for i, text in enumerate(led)])
    encoder, k, chain = HashingEncoder(64), 3, "ragmask(delta=0.1)"
    settings: dict[str, Any] = {"rerankers": [RAGMask(delta=0.1)], "retriever": Plain()}
    (at,) = benched(task, defenses=(chain,), top_ks=(k,), attacks=()).clean_of(chain).at
    plain = GuardedIndex.build(task.documents, encoder, retriever=Plain())
    dropping = GuardedIndex.build(task.documents, encoder, mode="drop", floor=0, **settings)
    demoting = GuardedIndex.build(task.documents, encoder, mode="demote", **settings)
    lost, seen = [], []
    for text in task.queries.values():
        removed = {hit.document.id for hit in dropping.search(text, k).removed}
        lost.append(len([hit for hit in plain.search(text, k).hits if hit.document.id in removed]))
        seen.append(len([hit for hit in demoting.search(text, k).hits if hit.suspicious]))
    assert sum(lost) > sum(seen)
    assert at.dropped_hits.value == pytest.approx(sum(lost) / k / len(lost))
    assert at.dropped_queries.value == pytest.approx(sum(map(bool, lost)) / len(lost))


def test_chains_are_held_against_one_plain_search(monkeypatch: pytest.MonkeyPatch) -> None:
    plain_search, asked = Plain.retrieve, []

    def counted(self: Plain, *given: Any) -> Any:
        asked.append(given)
        return plain_search(self, *given)

    monkeypatch.setattr(Plain, "retrieve", counted)
    needed = []
    for defenses in (("ragpart",), ("ragpart", "mean_of_fragments", "ragpart(fragments=3)")):
        asked.clear()
        benched(defenses=defenses, attacks=())
        needed.append(len(asked))
    assert needed[0] == needed[1] > 0


def test_each_k_is_asked_for_by_itself() -> None:
    together = benched(defenses=("ragmask",), top_ks=(1, 3), attacks=("query_as_poison",))
    alone = benched(defenses=("ragmask",), top_ks=(3,), attacks=("query_as_poison",))
    columns = [
        [row.found[-1] for row in result.attack_of("query_as_poison", 1, "ragmask").rows]
        for result in (together, alone)
    ]
    assert columns[0] == columns[1]


def test_the_same_seed_gives_the_same_result() -> None:
    first, second = (without_times(benched(attacks=("query_as_poison",), queries=5)) for _ in range(2))
    assert first == second


def test_queries_without_a_text_are_left_out_and_told() -> None:
    result = benched(attacks=("wrong_context",))
    (record,) = result.attacks
    assert (record.attacked, record.skipped) == (3, 5)
    assert len(result.attacked[0].rows) == 3
    assert any("wrong_context has no text for 5 of 8 queries" in warning for warning in result.warnings)


def test_an_attack_without_any_text_has_no_figures() -> None:
    task = bench_task()
    bare = RetrievalTask(task.documents, task.queries, task.qrels)
    result = benched(bare, attacks=("wrong_context",))
    assert result.attacked == []
    assert (result.attacks[0].attacked, result.attacks[0].words) == (0, None)


def test_where_nothing_is_judged_quality_is_unknown() -> None:
    task = bench_task()
    result = benched(RetrievalTask(task.documents, task.queries, {}), attacks=("query_as_poison",))
    assert result.clean[0].ndcg is None
    assert result.clean[0].at[0].recall is None
    assert result.attacked[0].at[0].sr is None
    assert result.settings.judged == 0
    assert any("8 of 8 queries have no relevant document" in warning for warning in result.warnings)


def test_an_encoder_that_ragpart_does_not_fit_is_told() -> None:
    words = " ".join(f"word{i}" for i in range(60))
    documents = tuple(Document(f"d{i}", words.replace("word", f"w{i}x")) for i in range(6))
    result = benched(RetrievalTask(documents, {"q": "w1x1"}, {"q": {"d1": 1}}), attacks=())
    assert any("RAGPart does not apply" in warning for warning in result.warnings)


def test_what_is_kept_is_not_measured_again(tmp_path: Path) -> None:
    task, options = bench_task(), BenchOptions(defenses=("ragpart",), top_ks=(3,), timed_queries=1)
    first = run_benchmark(task, HashingEncoder(64), options, folder=tmp_path)
    encoder = CountingEncoder(64)
    assert run_benchmark(task, encoder, options, folder=tmp_path) == first
    assert encoder.seen == []


def test_a_benchmark_that_was_killed_goes_on(tmp_path: Path) -> None:
    task, options = bench_task(), BenchOptions(defenses=("ragpart", "consensus"), timed_queries=1)
    asked = 0

    def kill(what: str, done: int, total: int | None) -> None:
        nonlocal asked
        asked = max(asked, done) if what == ASKING else asked
        if what == ASKING and total is not None and done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_benchmark(task, HashingEncoder(64), options, folder=tmp_path, progress=kill)
    kept = len(list((tmp_path / CELLS).glob("*.json")))
    assert kept > 1
    result = run_benchmark(task, HashingEncoder(64), options, folder=tmp_path)
    assert without_times(result) == without_times(run_benchmark(task, HashingEncoder(64), options))
    assert len(list((tmp_path / CELLS).glob("*.json"))) > kept


def test_a_wider_grid_measures_what_is_new(tmp_path: Path) -> None:
    task = bench_task()
    run_benchmark(task, HashingEncoder(64), BenchOptions(defenses=("ragpart",)), folder=tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / CELLS).glob("*.json")}
    wider = BenchOptions(defenses=("ragpart", "consensus"))
    assert len(run_benchmark(task, HashingEncoder(64), wider, folder=tmp_path).clean) == 3
    after = {path.name: path.read_bytes() for path in (tmp_path / CELLS).glob("*.json")}
    assert before.items() < after.items()


def test_a_damaged_part_is_measured_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task, options = bench_task(4), BenchOptions(defenses=(), timed_queries=1)
    first = run_benchmark(task, HashingEncoder(64), options, folder=tmp_path)
    for path in (tmp_path / CELLS).glob("attackcell-*.json"):
        path.write_text("{}")
    with caplog.at_level(logging.WARNING, "mithridate.retrieval"):
        assert run_benchmark(task, HashingEncoder(64), options, folder=tmp_path) == first
    assert "attackcell-" in caplog.text


def test_another_process_is_not_disturbed(tmp_path: Path) -> None:
    with exclusive(tmp_path / CELLS), pytest.raises(RunStateError, match="using this directory"):
        run_benchmark(bench_task(4), HashingEncoder(64), folder=tmp_path)


def test_a_cache_makes_a_second_run_cheap(tmp_path: Path) -> None:
    task, options = bench_task(4), BenchOptions(defenses=("ragmask",), timed_queries=1)
    run_benchmark(task, HashingEncoder(64), options, cache=tmp_path)
    encoder = CountingEncoder(64)
    result = run_benchmark(task, encoder, options, cache=tmp_path)
    # Only what is timed is encoded, and the attack's own look at texts.
    assert len(encoder.seen) < 40
    assert result.clean[0].cost.build_seconds is None
    assert result.clean_of("ragmask").cost.encodings_cold > 0


def test_progress_ends_at_the_total() -> None:
    told: list[tuple[str, int, int | None]] = []
    run_benchmark(
        bench_task(),
        HashingEncoder(64),
        BenchOptions(attacks=("wrong_context",), defenses=("ragpart",), copies=(1, 2)),
        progress=lambda *news: told.append(news),
    )
    asked = [(done, total) for what, done, total in told if what == ASKING]
    assert asked[-1] == (8 * 2 * 3, 8 * 2 * 3)
    assert asked == sorted(asked)
    assert any(what == ENCODING for what, _, _ in told)


def test_queries_are_drawn_by_the_seed_and_kept_in_order() -> None:
    task, names = bench_task(), list(bench_task().queries)
    drawn = []
    for seed in (0, 1, 2):
        result = benched(task, attacks=(), queries=3, seed=seed, defenses=())
        drawn.append([row.query for row in result.clean[0].rows])
    assert all(one == sorted(one, key=names.index) for one in drawn)
    assert len({tuple(one) for one in drawn}) > 1


def test_named_queries_are_asked() -> None:
    result = benched(attacks=(), query_ids=["q-falcon", "q-amber"], defenses=())
    assert [row.query for row in result.clean[0].rows] == ["q-amber", "q-falcon"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"top_ks": ()}, "top_ks"),
        ({"top_ks": (0, 3)}, "top_ks"),
        ({"copies": (11,)}, "copies"),
        ({"copies": ()}, "copies"),
        ({"queries": 0}, "queries is 0"),
        ({"timed_queries": 0}, "timed_queries is 0"),
        ({"query_ids": ["nobody"]}, "such as 'nobody'"),
        ({"query_ids": []}, "no query is named"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        benched(**options)


def test_unknown_names_stop_before_anything_is_encoded() -> None:
    encoder = CountingEncoder(64)
    for options in (BenchOptions(attacks=("query_as_poisn",)), BenchOptions(defenses=("ragprat",))):
        with pytest.raises(UnknownNameError, match="did you mean"):
            run_benchmark(bench_task(4), encoder, options)
    assert encoder.seen == []


def test_a_corpus_without_queries() -> None:
    with pytest.raises(ConfigError, match="without queries"):
        benched(RetrievalTask(bench_task().documents, {}, {}))


def test_an_attack_must_name_the_query() -> None:
    with pytest.raises(ConfigError, match="attack 'careless' wrote 'p' without naming its query"):
        PlantedTexts.of([Document("p", "some text")], "careless", set())
