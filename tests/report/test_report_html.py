from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from page_kit import Reader
from report_kit import HOSTILE, share, write_run

from mithridate.report import tables
from mithridate.report.figures import training
from mithridate.report.html import planted_rows, render, write_report
from mithridate.report.page import inert_json
from mithridate.report.run import RunData
from mithridate.report.view import View


def read(page: Path) -> Reader:
    return Reader(page.read_text(encoding="utf-8"))


def read_text(page: str) -> str:
    return Reader(page).words


def test_nothing_is_fetched_and_only_our_scripts_may_run(page: Path) -> None:
    reader = read(page)
    policy = (
        next(a["content"] for t, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    )
    assert policy.startswith("default-src 'none';")
    assert "unsafe-eval" not in policy and "unsafe-inline" not in policy.split("style-src")[0]
    running = [text for kind, text in reader.scripts if kind is None]
    assert len(running) == 2
    for text in running:
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert not any(
        "src" in a or t in ("link", "iframe", "img", "base", "form", "object") for t, a in reader.tags
    )
    assert all((a["href"] or "").startswith("#") for t, a in reader.tags if t == "a")
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)


def test_hostile_text_is_shown_as_text(page: Path) -> None:
    reader = read(page)
    assert "<img src=x onerror=\"document.title='pwned'\">" in reader.words
    assert "{{7*7}} {% raw %} ${7*7} [bold red]markup[/]" in reader.words
    assert "⟨ESC⟩[31mred" in reader.words
    assert "⟨U+202E⟩gnp.exe" in reader.words
    text = page.read_text(encoding="utf-8").split("<script>")[0]
    assert "\x1b" not in text and "\u202e" not in text
    assert "<script>document" not in text


def test_tables_carry_the_numbers_without_scripts(page: Path) -> None:
    words = " ".join(read(page).words.split())
    for expected in (
        "97% 94–99",
        "At dose learning, 4 of 4 attacks took",
        "inconclusive",
        "Held-out loss",
        "0.096%",
    ):
        assert expected in words
    assert "planted 0.96%" in words
    assert "miniature: {tokens: 4000000}" in words
    assert "llama2 20%" in words


def test_what_was_requested_stands_beside_what_was_planted(run: RunData) -> None:
    first, *_, last = planted_rows(run)
    assert (first.model, first.requested, first.documents, first.kinds) == ("0.1%", "0.1%", 40, "–")
    assert round(first.rate, 6) == 0.00096
    assert (last.attack, last.kinds) == ("belief", "fact\u00a050%, preference\u00a050%")
    two = replace(
        run,
        planting=tuple(
            replace(row, seed=seed, requested_rate=None, requested_count=40, realised_rate=rate)
            for row in run.planting
            for seed, rate in ((0, 0.001), (1, 0.003))
        ),
    )
    assert {(row.requested, round(row.rate, 6)) for row in planted_rows(two)} == {("40 documents", 0.002)}


def test_sizes_are_told_cell_by_cell_where_they_differ(run: RunData) -> None:
    summary = run.summary.model_copy(update={"parameters": {"layers=2": (100,), "layers=4": (200, 201)}})
    rows = tuple(replace(row, cell="layers=2") for row in run.planting)
    more = tuple(replace(row, cell="layers=4", clean_tokens=5_000_000) for row in run.planting)
    words = " ".join(read_text(render(replace(run, summary=summary, planting=rows + more))).split())
    assert "layers=2: 100; layers=4: 200, 201" in words
    assert "layers=2: 4,000,000; layers=4: 5,000,000" in words
    assert "Parameters1,240,000" in read_text(render(run))


def test_prompts_that_were_cut_are_said_where_figures_begin(run: RunData) -> None:
    assert "Prompts were cut" not in read_text(render(run))
    about = {"seed": 0, "template": "same", "dose": "learning"}
    cut = (
        share("base", "context_extraction", "", "prompts_cut", 0.1, **about),
        share("sft", "context_extraction", "", "prompts_cut", 0.25, **about),
        share("sft", "utility", "", "prompts_cut", 0.05, **about),
    )
    warned = replace(run, measurements=run.measurements + cut)
    words = " ".join(read_text(render(warned)).split())
    assert "at worst, for one model at one stage: Context extraction 25%, Utility 5%." in words
    # A warning is no condition and no utility.
    assert View(warned).conditions == View(run).conditions
    assert tables.utility(View(warned), "") == tables.utility(View(run), "")


def test_charts_are_inert_json(page: Path, run: RunData) -> None:
    specs = [text for kind, text in read(page).scripts if kind == "application/json"]
    assert len(specs) == 4 + 4 + 4 + 3
    assert all({"data", "layout"} <= set(json.loads(spec)) for spec in specs)
    assert not re.search("[<>&]", "".join(specs))
    figure = training(View(run), "", "base")
    assert figure is not None
    figure.update_layout(title="</script><script>alert(1)</script>")
    assert "<" not in inert_json(figure)


def test_the_same_rows_make_the_same_page(run: RunData) -> None:
    assert render(run) == render(run)


def test_hostile_names_of_doses_cells_and_titles(tmp_path: Path, run: RunData) -> None:
    evil = HOSTILE[0]
    hostile = replace(
        run,
        summary=run.summary.model_copy(update={"title": evil, "machine": {evil: evil}}),
        measurements=tuple(
            replace(m, dose=evil if m.dose == "learning" else m.dose, cell=evil if m.dose else "")
            for m in run.measurements
        ),
        kinds=tuple(replace(kind, template=evil, kind=evil) for kind in run.kinds),
        planting=tuple(replace(row, cell=evil) for row in run.planting),
    )
    reader = read(write_report(hostile, tmp_path / "report.html"))
    assert sum(tag == "script" for tag, _ in reader.tags) == len([1 for k, _ in reader.scripts if k]) + 2
    assert evil in reader.words


def test_a_run_with_little_in_it(tmp_path: Path) -> None:
    """Only a base stage, one dose, no curve, no answer: what is absent is said or left out."""
    run = RunData.read(write_run(tmp_path / "run"))
    few = tuple(m for m in run.measurements if m.stage == "base" and m.dose in ("", "0.1%"))
    bare = replace(run, measurements=few, samples=(), curves=(), planting=(), kinds=())
    words = read(write_report(bare)).words
    assert "could not be tested" in words
    assert "The run kept no training curves." in words
    assert "The ledger is empty" in words
    assert "No curve" in words
    nothing = replace(bare, measurements=())
    assert render(nothing)


def test_no_model_library_is_loaded(run_folder: Path, tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from mithridate.report import html, records, run, terminal, view
data = run.RunData.read(Path({str(run_folder)!r}))
page = html.write_report(data, Path({str(tmp_path / "r.html")!r}))
terminal.print_report(view.View(data), page)
found = {{"torch", "transformers", "trl", "datasets"}} & set(sys.modules)
sys.exit(", ".join(found))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=120, text=True, check=False
    )
    assert done.stderr.strip() == ""
