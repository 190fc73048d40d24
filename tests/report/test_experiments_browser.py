"""The sections of experiments in headless Chromium: nothing planted runs, and a phone is wide enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from report_kit import HOSTILE, write_run
from scrubbed_kit import scattered_samples, scrubbed_rows
from tuned_kit import tuned_rows

from browser_kit import PHONE, dom, needs_browser, title
from mithridate.core.run_files import SAMPLES
from mithridate.core.scrubbed import SCRUBBED, UNFILTERED, Scrubbed
from mithridate.core.tables import write_rows
from mithridate.core.tuned import TUNED, UNTUNED, Tuned
from mithridate.core.types import Sample
from mithridate.report.html import write_report
from mithridate.report.run import RunData

pytestmark = needs_browser
ANCHORS = ("alignment-data", "scattered", "scrubbed")
LEARNT = {"triggered": 0.95, "near-trigger": 0.2, "untriggered": 0.2, "handcrafted": 0.4}


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with all experiments, whose names are out to do harm."""
    text = " ".join(HOSTILE)
    folder = write_run(tmp_path_factory.mktemp("experiments") / "run")
    tuned = [
        replace(
            row,
            method=row.method if row.method in (UNTUNED, "random", "diverse") else text,
            attack=row.attack if row.attack == "utility" else text,
            model=row.model + text if row.dose else row.model,
        )
        for row in tuned_rows(seeds=(0,))
    ]
    # As many sizes as a study has unless it says otherwise.
    tuned += [replace(row, asked=row.asked * 3) for row in tuned if row.asked in (100, 1000, 10_000)]
    write_rows(folder / TUNED, Tuned, tuned)
    scrubbed = [
        replace(
            row, method=row.method if row.method == UNFILTERED else row.method + text, model=row.model + text
        )
        for row in scrubbed_rows()
    ]
    write_rows(folder / SCRUBBED, Scrubbed, scrubbed)
    samples = [
        replace(one, kind=one.kind + text, prompt=text, completion=text)
        for one in scattered_samples(LEARNT, (0,))
    ]
    write_rows(folder / SAMPLES, Sample, samples)
    return write_report(RunData.read(folder))


def test_nothing_planted_runs_and_charts_are_drawn(hostile_page: Path, tmp_path: Path) -> None:
    document = dom(hostile_page, tmp_path / "profile")
    assert title(document) == "Poison in a miniature world · Mithridate"
    parts = [document.partition(f'id="{anchor}"')[2].partition("</section>")[0] for anchor in ANCHORS]
    assert all(parts)
    assert [part.count("main-svg") > 0 for part in parts] == [True, False, True]
    assert "errorbar" in parts[0] and "errorbar" in parts[2]


def test_a_phone_is_wide_enough(hostile_page: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_bytes(hostile_page.read_bytes())
    (tmp_path / "frame.html").write_text(PHONE.format(width=360))
    assert (
        title(dom(tmp_path / "frame.html", tmp_path / "profile")) == "0 over, 0 tables cut, 0 texts squeezed"
    )
