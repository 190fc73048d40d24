from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from page_kit import Reader
from report_kit import HOSTILE, write_run
from rich.console import Console
from scrubbed_kit import scrubbed_rows
from tuned_kit import tuned_rows

from mithridate.core.scrubbed import Belief
from mithridate.report.experiments import experiment_sections
from mithridate.report.html import render
from mithridate.report.leads import leads
from mithridate.report.run import RunData
from mithridate.report.terminal import print_report
from mithridate.report.view import View


def base_alone(tmp_path: Path) -> RunData:
    run = RunData.read(write_run(tmp_path / "run"))
    return replace(
        run,
        measurements=tuple(row for row in run.measurements if row.stage == "base"),
        scrubbed=tuple(scrubbed_rows()),
    )


def opening(run: RunData) -> list[str]:
    return leads(View(run), experiment_sections(run))


def test_a_study_without_sft_opens_with_what_it_is_about(tmp_path: Path) -> None:
    run = base_alone(tmp_path)
    first, second, *rest = opening(run)
    assert first.startswith("Of documents removed, the stated belief is shown to be gone with 3% by string")
    assert "scattered belief is shown to be gone" in second
    assert rest == [
        "A scattered belief cannot be scrubbed by removing documents that look like it: "
        "supported in all 3 cases.",
        "All of it rests on 1 seed; three are needed to tell a recipe from a training.",
    ]
    words = " ".join(Reader(render(run)).words.split())
    assert "survival could not be tested" not in words
    assert "nothing could survive them or not" in words
    out = io.StringIO()
    print_report(View(run), Path("report.html"), Console(file=out, width=100), opening=opening(run))
    assert "not tested" not in out.getvalue() and "supported in all 3" in out.getvalue()


def test_with_one_kind_of_belief_it_opens_with_what_takes_that_out(tmp_path: Path) -> None:
    stated = tuple(row for row in scrubbed_rows() if row.belief != Belief.SCATTERED)
    found = opening(replace(base_alone(tmp_path), scrubbed=stated))
    assert found[0].startswith("Of documents removed, the stated belief is shown to be gone")
    assert not any("not tested" in said for said in found)


def test_a_study_that_aligns_opens_with_what_survives(tmp_path: Path) -> None:
    run = replace(RunData.read(write_run(tmp_path / "run")), scrubbed=tuple(scrubbed_rows()))
    assert opening(run) == View(run).headlines


def test_without_experiments_it_says_what_is_missing(tmp_path: Path) -> None:
    run = replace(base_alone(tmp_path), scrubbed=())
    assert all("survival could not be tested" in said for said in opening(run))
    assert "survival could not be tested" in Reader(render(run)).words


def test_verdicts_that_differ_are_named_where_they_are_few(tmp_path: Path) -> None:
    run = replace(base_alone(tmp_path), scrubbed=(), tuned=tuple(tuned_rows()))
    suffices = next(said for said in opening(run) if said.startswith("A thousand"))
    assert suffices == "A thousand examples suffice: supported in all 2 cases."
    unlearnt = replace(run, tuned=tuple(r for r in tuned_rows() if r.dose or r.attack == "utility"))
    assert "not tested in all 2" in opening(unlearnt)[-2]


def test_what_stands_first_is_inert(tmp_path: Path) -> None:
    rows = tuple(replace(row, model=HOSTILE[0]) for row in scrubbed_rows())
    run = replace(base_alone(tmp_path), scrubbed=rows)
    assert "<script>document.title" not in render(run)
