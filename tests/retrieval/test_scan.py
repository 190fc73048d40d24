from __future__ import annotations

import json
import random
import tracemalloc
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import numpy as np
import pytest
from bench_kit import FILLING, SUBJECTS, bench_task
from index_kit import some_documents
from scipy.sparse.csgraph import connected_components

from mithridate.core.errors import ConfigError, DocumentError, QueryError
from mithridate.core.types import Document
from mithridate.retrieval import scan_texts
from mithridate.retrieval.encoders import HashingEncoder
from mithridate.retrieval.scan import ScanOptions, scan
from mithridate.retrieval.scan_records import RULES, SPAN, Finding, Level, ScanReport
from mithridate.retrieval.scan_texts import leading_question, near_copies, questions

ENCODER = HashingEncoder(128)


def rules_of(found: list[Finding], document: str) -> dict[str, Level]:
    return {finding.rule: finding.level for finding in found if finding.document == document}


def planted_corpus() -> tuple[list[Document], dict[str, str]]:
    """Honest documents, and one that is a query before a text about something else."""
    task = bench_task()
    query = task.queries["q-amber"]
    poison = Document("planted", f"{query}. {' '.join(FILLING * 4)}")
    return [*task.documents, poison], {"amber": query}


def test_a_query_in_front_of_another_text_shows_without_queries() -> None:
    documents, _ = planted_corpus()
    report = scan(documents, ENCODER)
    assert rules_of(report.findings, "planted")["leading-question"] is Level.NOTE
    assert report.queries == 0
    assert not rules_of(report.findings, "about-barley")


def test_with_queries_the_span_is_quoted() -> None:
    documents, queries = planted_corpus()
    report = scan(documents, ENCODER, queries, ScanOptions(top_k=2, fall=0.2))
    found = next(
        one for one in report.findings if (one.document, one.rule) == ("planted", "span-carries-match")
    )
    assert found.level is Level.WARNING
    assert "find amber" in found.message
    assert found.evidence["query"] == "amber"
    assert found.evidence["queries"] == 1


def test_a_level_depends_on_how_clear_a_sign_is() -> None:
    documents, queries = planted_corpus()
    for fall, level in ((0.0, Level.WARNING), (1.0, Level.NOTE)):
        report = scan(documents, ENCODER, queries, ScanOptions(top_k=2, fall=fall))
        assert rules_of(report.findings, "planted")["span-carries-match"] is level


def test_many_copies_among_the_hits_are_a_warning_and_a_pair_is_a_note() -> None:
    documents, queries = planted_corpus()
    copies = [Document(f"copy{i}", documents[-1].text + f" {i}") for i in range(3)]
    for more, level in ((copies[:1], Level.NOTE), (copies, Level.WARNING)):
        report = scan([*documents, *more], ENCODER, queries, ScanOptions(top_k=5))
        assert rules_of(report.findings, "copy0")["agreeing-hits"] is level
        assert rules_of(report.findings, "copy0")["near-copies"] is Level.NOTE


def test_warnings_that_agree_are_an_error_and_come_first() -> None:
    documents, queries = planted_corpus()
    copies = [Document(f"copy{i}", documents[-1].text + f" {i}") for i in range(3)]
    report = scan([*documents, *copies], ENCODER, queries, ScanOptions(fall=0.0))
    assert report.findings[0].rule == "several-signs"
    assert report.findings[0].level is Level.ERROR
    assert report.at_least(Level.ERROR) == [one for one in report.findings if one.level is Level.ERROR]
    assert len(report.at_least(Level.NOTE)) == len(report.findings)
    ranks = [one.level.rank for one in report.findings]
    assert ranks == sorted(ranks, reverse=True)


def test_the_same_corpus_gives_the_same_report() -> None:
    documents, queries = planted_corpus()
    first, second = (scan(documents, ENCODER, queries).model_dump_json() for _ in range(2))
    assert first == second


def test_a_report_comes_back_from_json() -> None:
    documents, queries = planted_corpus()
    report = scan(documents, ENCODER, queries)
    assert ScanReport.model_validate_json(report.model_dump_json()) == report


def test_sarif_names_rules_levels_and_documents() -> None:
    documents, queries = planted_corpus()
    report = scan(documents, ENCODER, queries)
    sarif = json.loads(json.dumps(report.sarif("corpus.jsonl")))
    (run,) = sarif["runs"]
    assert sarif["version"] == "2.1.0"
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [rule.id for rule in RULES]
    assert len(run["results"]) == len(report.findings) > 0
    for result, finding in zip(run["results"], report.findings, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.rule
        assert result["level"] == finding.level
        assert result["level"] in ("note", "warning", "error")
        (place,) = result["locations"]
        assert place["logicalLocations"][0]["name"] == finding.document
        assert place["physicalLocation"]["artifactLocation"]["uri"] == "corpus.jsonl"


@pytest.mark.parametrize(
    ("corpus", "uri"),
    [
        ("h/my c#1.jsonl", "h/my%20c%231.jsonl"),
        ("/data/50%?.jsonl", "/data/50%25%3F.jsonl"),
        ("//data/c.jsonl", "/data/c.jsonl"),
        ("c:d.jsonl", "c%3Ad.jsonl"),
        ("é.jsonl", "%C3%A9.jsonl"),
        ("\ud800.jsonl", "%EF%BF%BD.jsonl"),
    ],
)
def test_sarif_points_to_the_corpus_by_a_uri(corpus: str, uri: str) -> None:
    assert _uris(corpus) == {uri}


def test_sarif_points_to_the_file_in_a_beir_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my corpus"
    folder.mkdir()
    (folder / "corpus.jsonl").touch()
    assert _uris(str(folder)) == {quote(f"{folder}/corpus.jsonl")}


def _uris(corpus: str) -> set[str]:
    finding = Finding(rule=RULES[0].id, level=Level.NOTE, row=0, document="d", message="m")
    report = ScanReport(documents=1, queries=0, encoder="e", findings=[finding], warnings=[])
    (run,) = report.sarif(corpus)["runs"]
    return {
        place["physicalLocation"]["artifactLocation"]["uri"]
        for result in run["results"]
        for place in result["locations"]
    }


def test_hostile_texts_are_quoted_without_control_characters() -> None:
    text = "who is \x1b[31m red and \ud800 blue? " + " ".join(FILLING)
    report = scan([*some_documents(6), Document("hostile\ud800", text)], ENCODER)
    found = rules_of(report.findings, "hostile\ufffd")
    assert "leading-question" in found
    assert all("\x1b" not in one.message for one in report.findings)
    json.dumps(report.sarif("c"), ensure_ascii=False).encode()


def test_identifiers_that_are_written_alike_are_two_documents() -> None:
    question = "where is the lantern of amber?"
    twins = [
        Document(f"s{half}", f"{question} {' '.join(FILLING * 3)} {word}")
        for half, word in (("\ud800", "one"), ("\ud801", "other"))
    ]
    about = [Document(f"a{i}", "amber lantern quarry " * 6 + FILLING[i]) for i in range(4)]
    report = scan([*about, *twins], ENCODER, options=ScanOptions(nearer=0.0))
    warned = [one for one in report.findings if one.rule == "question-unlike-rest"]
    assert [(one.row, one.document, one.level) for one in warned] == [
        (4, "s\ufffd", Level.WARNING),
        (5, "s\ufffd", Level.WARNING),
    ]
    # One warning of each is not two of one.
    assert not report.at_least(Level.ERROR)


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Who was he? A man of the river, they say, and of no other.", "Who was he?"),
        ("who was he. A man of the river, they say, and of no other.", "who was he."),
        ("Is tea good? " * 5, "Is tea good?"),
        ("Really so? A man of the river, they say, and of no other.", None),
        ("The man came. A man of the river, they say, and of no other.", None),
        ("Whoever came was let in. A man of the river, they say, and of no other.", None),
        ("Who was he?", None),
        ("", None),
        ("who " * 200 + "? and then a text of some more words than eight follows", None),
    ],
)
def test_what_begins_with_a_question(text: str, question: str | None) -> None:
    found = leading_question(text)
    assert (found[0] if found else None) == question


def test_a_question_unlike_the_rest_is_told_by_rank_and_not_by_cosine() -> None:
    about = "amber amber lantern lantern quarry " * 6
    question = "where is the lantern of amber?"
    documents = [
        Document("own", f"{question} {about}"),
        Document("other", f"{question} {' '.join(FILLING * 3)}"),
        *(Document(f"a{i}", about + FILLING[i]) for i in range(4)),
    ]
    whole = ENCODER.encode([one.text for one in documents])
    found = questions(documents, whole, ENCODER, nearer_share=0.5)
    assert set(rules_of(found, "other")) == {"leading-question", "question-unlike-rest"}
    assert set(rules_of(found, "own")) == {"leading-question"}


def test_a_large_corpus_is_compared_with_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    documents = [
        Document(
            str(i), f"where is the {word} of {rng.choice(SUBJECTS)}? {' '.join(rng.choices(about, k=20))}"
        )
        for i, word in enumerate(FILLING * 30)
        for about in [SUBJECTS if i % 2 else FILLING]
    ]
    whole = ENCODER.encode([one.text for one in documents])

    def shares() -> np.ndarray[Any, Any]:
        found = questions(documents, whole, ENCODER, nearer_share=1.0)
        return np.array([one.evidence["nearer"] for one in found])

    exact = shares()
    monkeypatch.setattr(scan_texts, "_COMPARED", 200)
    drawn = shares()
    assert not np.array_equal(drawn, exact) and np.array_equal(drawn, shares())
    # Four standard errors of a share of 200.
    assert np.abs(drawn - exact).max() < 4 * np.sqrt(0.25 / 200)


def test_questions_are_compared_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [Document(str(i), f"where is {word}? {' '.join(FILLING)}") for i, word in enumerate(FILLING)]
    whole, reads = np.asarray(ENCODER.encode([one.text for one in documents])), 0

    class Counted:
        def __len__(self) -> int:
            return len(whole)

        def __getitem__(self, rows: Any) -> Any:
            nonlocal reads
            reads += 1
            return whole[rows]

    questions(documents, cast("Any", Counted()), ENCODER, nearer_share=0.5)
    assert reads == 1


def test_a_rule_speaks_at_its_own_level_unless_told() -> None:
    for level, given in ((SPAN.level, None), (Level.NOTE, Level.NOTE)):
        found = SPAN.finding(3, "d", "words", {"query": "q"}, given)
        assert found == Finding(
            rule=SPAN.id, level=level, row=3, document="d", message="words", evidence={"query": "q"}
        )


def test_one_copy_is_told_of_as_one() -> None:
    documents, rows = [Document(name, "x") for name in "ab"], np.ones((2, 1), np.float32)
    found = [one.message for one in near_copies(documents, rows, 0.95)]
    assert found == [f"1 other document says almost the same, such as {other!r}" for other in "ba"]


def test_near_copies_of_near_copies_belong_together() -> None:
    angles = np.radians([0, 15, 30, 90])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    documents = [Document(str(i), "x") for i in range(4)]
    found = near_copies(documents, rows, 0.95)
    assert [one.document for one in found] == ["0", "1", "2"]
    assert found[0].evidence == {"copies": 3, "others": ["1", "2"]}


def test_pairs_are_found_across_blocks() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2100, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[2050] = rows[3]
    documents = [Document(str(i), "x") for i in range(len(rows))]
    assert [one.document for one in near_copies(documents, rows, 0.999)] == ["3", "2050"]


def test_groups_are_those_of_all_pairs() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(1200, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    similarity = 0.994
    count, groups = connected_components(rows @ rows.T >= similarity, directed=False)
    assert 100 < count < 1150
    sizes = np.bincount(groups)
    found = {
        one.document: one
        for one in near_copies([Document(str(i), "x") for i in range(1200)], rows, similarity)
    }
    for row, group in enumerate(groups):
        if sizes[group] == 1:
            assert str(row) not in found
        else:
            others = [str(other) for other in np.flatnonzero(groups == group) if other != row]
            assert found[str(row)].evidence == {"copies": int(sizes[group]), "others": others[:5]}


@pytest.mark.parametrize("spread", [0.0, 1e-4])
def test_many_copies_cost_no_memory_for_each_pair(spread: float) -> None:
    n, dimension = 3000, 8
    rng = np.random.default_rng(0)
    rows = (
        np.eye(1, dimension, dtype=np.float32) + rng.normal(size=(n, dimension)).astype(np.float32) * spread
    )
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    documents = [Document(str(i), "the same") for i in range(n)]
    tracemalloc.start()
    found = near_copies(documents, rows, 0.95)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Pairs would be 9 million, at 16 bytes or more; findings take some 2 kB each.
    assert peak < 3000 * n + 40e6
    assert len(found) == n
    assert found[2].evidence == {"copies": n, "others": ["0", "1", "3", "4", "5"]}
    assert found[-1].message.startswith("2,999 other documents say")


@pytest.mark.parametrize(
    "options", [{"top_k": 0}, {"fall": 1.5}, {"votes": -0.1}, {"copies": 2}, {"nearer": float("nan")}]
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        ScanOptions(**options)


def test_what_cannot_be_scanned() -> None:
    with pytest.raises(DocumentError, match="no document"):
        scan([], ENCODER)
    with pytest.raises(QueryError, match="empty"):
        scan(some_documents(5), ENCODER, {"q": " "})


def test_what_building_found_is_told() -> None:
    report = scan([*some_documents(5), Document("blank", " ")], ENCODER)
    assert report.documents == 5
    assert any("1 blank documents were left out" in warning for warning in report.warnings)
