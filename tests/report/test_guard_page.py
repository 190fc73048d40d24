"""The page of a benchmark of defences: what it says and draws, and that planted texts are only shown."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from guard_kit import ATTACKS, DEFENSES, NDCG, QUERIES, hostile, rate, result
from page_kit import Reader

from mithridate.report import guard_figures
from mithridate.report.guard import command_of, render_guard, write_guard_report
from mithridate.report.guard_view import Assault, GuardView
from mithridate.retrieval.measuring.records import Figure
from mithridate.retrieval.measuring.written import parse_chains


@pytest.fixture(scope="module")
def page() -> str:
    return render_guard(result())


@pytest.fixture(scope="module")
def evil_page() -> str:
    return render_guard(hostile())


def words(page: str) -> str:
    return " ".join(Reader(page).words.split())


def drawn(figure: Any) -> Any:
    return json.loads(figure.to_json())


def test_nothing_is_fetched_and_only_our_scripts_may_run(evil_page: str) -> None:
    reader = Reader(evil_page)
    policy = next(a["content"] for _, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy and policy.startswith("default-src 'none';")
    running = [text for kind, text in reader.scripts if kind is None]
    assert len(running) == 2
    for text in running:
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert not any(
        "src" in a or t in ("link", "iframe", "img", "svg", "base", "form", "object") for t, a in reader.tags
    )
    assert all((a["href"] or "").startswith("#") for t, a in reader.tags if t == "a")
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert not re.search("[<>&]", "".join(text for kind, text in reader.scripts if kind))


def test_planted_texts_and_names_are_shown_as_text(evil_page: str) -> None:
    said = words(evil_page)
    for expected in (
        "<script>document.title='pwned'</script> planted \N{REPLACEMENT CHARACTER}",
        "⟨ESC⟩[2J⟨ESC⟩]0;pwned⟨BEL⟩⟨ESC⟩[31mred",
        "⟨U+202E⟩gnp.exe",
        "{{7*7}} {% raw %} ${7*7} [bold red]markup[/]",
        "perplexity(model='</script>",
    ):
        assert expected in said
    before_scripts = evil_page.partition("<script>")[0]
    assert "\x1b" not in before_scripts and "\u202e" not in before_scripts


def test_tables_carry_the_numbers_without_scripts(page: str) -> None:
    said = words(page)
    for expected in (
        "1 planted document a question",
        "5 planted documents a question",
        "ASR@5",
        "35% 25–45",
        ".316 .266–.366",
        "1.5 1.1 to 2.5",
        "0.500 ms",
        "11.2 MB",
        "2.0 ×",
        "7,266 encodings",
        "3,633 encodings, 41.5 s",
        "20–61 words",
        "121–1,430 words",
        "texts for 38 questions, 73.0 words at the median; none for 2",
        "hashing:1:256, 256 dimensions",
        "0 plain, 1 ragpart, 2 ragmask(delta=0.1), 3 ragpart+ragmask+consensus",
    ):
        assert expected in said


def test_the_trade_off_has_a_series_an_attack_and_a_mark_a_defence() -> None:
    view = GuardView(result())
    spec = drawn(guard_figures.trade_off(view, 1))
    assert [series["name"] for series in spec["data"]] == list(ATTACKS)
    for attack, series in zip(ATTACKS, spec["data"], strict=True):
        expected = {(NDCG[i], 100 * rate(attack, 1, i)) for i in range(len(DEFENSES))}
        assert {(x, y) for x, y in zip(series["x"], series["y"], strict=True)} == expected
        by_quality = dict(zip(series["x"], series["marker"]["size"], strict=True))
        sizes = [by_quality[quality] for quality in NDCG]
        assert sizes == sorted(sizes) and sizes[0] == guard_figures.SMALLEST
        # 50 ms against 0.5 ms: two powers of ten.
        assert sizes[2] - sizes[0] == 2 * guard_figures.WIDER
    assert sorted(note["text"] for note in spec["layout"]["annotations"]) == sorted(["0", "1", "2", "3"] * 2)


def test_a_quality_on_which_all_questions_agree_is_shown_without_an_interval() -> None:
    measured = result(attacks=("repeated",), copies=(1,))
    agreed = Figure(value=1.0, low=None, high=None, n=QUERIES)
    measured.clean[0] = measured.clean[0].model_copy(update={"ndcg": agreed})
    spec = drawn(guard_figures.trade_off(GuardView(measured), 1))
    shown = [text for series in spec["data"] for text in series["hovertext"]]
    assert sum("nDCG 1.000 (no interval)" in text for text in shown) == 1


def test_marks_that_lie_on_each_other_share_a_label() -> None:
    """The last four defences have the figures of the first four."""
    defenses = (*DEFENSES, "consensus", "x", "y", "z")
    spec = drawn(guard_figures.trade_off(GuardView(result(defenses=defenses, attacks=("repeated",))), 1))
    assert sorted(note["text"] for note in spec["layout"]["annotations"]) == ["0 4", "1 5", "2 6", "3 7"]


def test_where_no_question_is_judged_there_is_no_trade_off() -> None:
    said = words(render_guard(result(judged=False)))
    assert "there is no trade-off to draw" in said
    assert "there is no nDCG and no recall" in said
    assert not re.search(r"\bSR@|Recall", said)
    assert "ASR@5" in said


def test_a_benchmark_without_an_attack_is_that_of_the_clean_corpus() -> None:
    said = words(render_guard(result(attacks=(), copies=())))
    assert "No attack was measured" in said
    assert ".316" in said and "ASR@" not in said


def test_charts_by_copies_need_two_numbers_of_copies() -> None:
    one, two = GuardView(result(copies=(3,))), GuardView(result())
    assert guard_figures.by_copies(one, one.attacks[0]) is None
    spec = drawn(guard_figures.by_copies(two, two.attacks[0]))
    assert spec["layout"]["xaxis"]["ticktext"] == ["1", "5"]
    assert spec["data"][0]["y"] == [pytest.approx(100 * rate("query_as_poison", n, 0)) for n in (1, 5)]


def test_charts_by_length_follow_the_thirds() -> None:
    view = GuardView(result())
    spec = drawn(guard_figures.by_length(view, Assault("repeated", 1)))
    assert spec["layout"]["xaxis"]["ticktext"] == ["20–61", "62–120", "121–1,430"]
    assert [line["name"] for line in spec["data"]] == list(DEFENSES)
    assert spec["data"][1]["y"] == [pytest.approx(55 * share) for share in (1, 0.75, 0.5)]


def test_the_command_measures_the_same_grid() -> None:
    measured = result(corpus="my corpus/x.json")
    spoken = shlex.split(command_of(measured).replace("\\\n", " "))
    assert spoken[:4] == ["mithridate", "guard", "bench", "my corpus/x.json"]
    options = dict(zip(spoken[4::2], spoken[5::2], strict=True))
    assert [chain.text for chain in parse_chains(options["--defenses"])] == list(DEFENSES)
    assert options["--top-k"] == "3,5,10" and options["--copies"] == "1,5" and options["--seed"] == "7"
    assert "--split" not in options  # there was none to choose


def test_the_command_takes_the_same_judgements() -> None:
    measured = result()
    settings = measured.settings.model_copy(update={"split": "my dev"})
    spoken = shlex.split(command_of(measured.model_copy(update={"settings": settings})))
    assert spoken[spoken.index("--split") + 1] == "my dev"


def test_the_same_result_makes_the_same_page(page: str) -> None:
    assert render_guard(result()) == page


def test_the_page_is_written_without_a_model_library(tmp_path: Path) -> None:
    saved = tmp_path / "result.json"
    saved.write_text(result().model_dump_json(), encoding="utf-8")
    program = f"""
import sys
from pathlib import Path
from mithridate.report.guard import write_guard_report
from mithridate.retrieval.measuring.records import BenchResult, load_result
write_guard_report(load_result(Path({str(saved)!r}), BenchResult), Path({str(tmp_path / "r.html")!r}))
sys.exit(", ".join({{"torch", "transformers", "sentence_transformers"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=120, text=True, check=False
    )
    assert done.stderr.strip() == ""
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == render_guard(result())


def test_a_page_replaces_another_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    write_guard_report(result(judged=False), path)
    assert write_guard_report(result(), path) == path
    assert path.read_text(encoding="utf-8") == render_guard(result())
    assert [one.name for one in path.parent.iterdir()] == ["report.html"]
