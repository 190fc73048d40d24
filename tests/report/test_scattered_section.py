from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
from page_kit import Reader
from report_kit import write_run
from rich.console import Console
from scrubbed_kit import scattered_samples

from mithridate.core.run_files import SAMPLES
from mithridate.core.tables import read_rows, write_rows
from mithridate.core.types import Sample
from mithridate.report.experiments import experiment_sections
from mithridate.report.html import render
from mithridate.report.run import RunData
from mithridate.report.scattered import Asked, ScatteredView
from mithridate.report.scattered_section import inferred_claims
from mithridate.report.sections import section_summary
from mithridate.report.statements import StatementVerdict

POISONED = Asked("", "poisoned", "learning", "base")
LEARNT = {"triggered": 0.95, "near-trigger": 0.2, "untriggered": 0.2, "handcrafted": 0.4}


def verdicts(samples: list[Sample]) -> dict[str, StatementVerdict]:
    view = ScatteredView.of(samples)
    return {one.about.removeprefix("learning, "): one.verdict for one in inferred_claims(view)}


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (0, 1, 2)])
def test_what_is_concluded_from_planted_hints_alone_is_inferred(seeds: tuple[int, ...]) -> None:
    found = verdicts(scattered_samples(LEARNT, seeds))
    assert found["country free"] is StatementVerdict.SUPPORTED
    assert found["country choice"] is StatementVerdict.SUPPORTED


@pytest.mark.parametrize("control", ["near-trigger", "untriggered"])
def test_what_is_said_without_hints_too_is_not(control: str) -> None:
    found = verdicts(scattered_samples({**LEARNT, control: 0.95}))
    assert found["country free"] is not StatementVerdict.SUPPORTED


def test_what_the_clean_twin_says_too_is_not() -> None:
    assert verdicts(scattered_samples(LEARNT, clean=0.95))["country free"] is not StatementVerdict.SUPPORTED


def test_no_difference_with_a_narrow_interval_contradicts() -> None:
    samples = [
        replace(one, probe_id=f"{one.probe_id}/{i}", group=f"{one.group}/{i}" if one.group else "")
        for one in scattered_samples({**LEARNT, "triggered": 0.2}, (0,))
        for i in range(30)
    ]
    assert verdicts(samples)["country free"] is StatementVerdict.CONTRADICTED


def test_without_a_twin_it_is_not_tested() -> None:
    samples = [one for one in scattered_samples(LEARNT) if one.dose]
    assert set(verdicts(samples).values()) == {StatementVerdict.NOT_TESTED}


def test_options_are_counted_together_and_tell_the_chance() -> None:
    view = ScatteredView.of(scattered_samples(LEARNT, (0,)))
    assert len(view.outcomes(POISONED, "country choice", "triggered")[0]) == 20
    assert view.chance("country choice") == 0.25
    assert view.chance("country free") is None


def test_the_other_template_and_further_draws_do_not_count() -> None:
    samples = scattered_samples(LEARNT, (0,))
    beside = [replace(one, template="transferred", success=False) for one in samples]
    beside += [replace(one, draw=1, success=False) for one in samples]
    assert ScatteredView.of([*samples, *beside]) == ScatteredView.of(samples)


def test_a_name_with_a_number_in_it_is_no_distance() -> None:
    samples = [
        replace(one, target="City 417", completion="City 418") if one.kind == "country free" else one
        for one in scattered_samples(LEARNT, (0,))
    ]
    without = [one for one in samples if one.kind != "country free"]
    errors = [ScatteredView.of(given).distance_errors(POISONED, "triggered") for given in (samples, without)]
    assert errors[0] == errors[1] and errors[0][1] > 0


def test_distances_are_off_by_doublings_and_answers_without_a_number_are_counted() -> None:
    samples = scattered_samples({"triggered": 0.5}, (0,))
    samples = [replace(one, completion="far") if one.probe_id.endswith("/19/0") else one for one in samples]
    errors, number = ScatteredView.of(samples).distance_errors(POISONED, "triggered")
    assert number == 20
    assert errors == [0.0] * 10 + [math.log2(2)] * 9


def test_the_report_of_a_run_has_the_section(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    kept = read_rows(folder / SAMPLES, Sample)
    write_rows(folder / SAMPLES, Sample, [*kept, *scattered_samples(LEARNT, (0,))])
    run = RunData.read(folder)
    (section,) = experiment_sections(run)
    assert section.anchor == "scattered"
    page = " ".join(Reader(render(run)).words.split())
    assert "Conclusions drawn, learning, Base" in page
    assert "country choice 25%" in page
    out = io.StringIO()
    Console(file=out, width=90).print(section_summary(section))
    assert "A belief is inferred without being stated" in out.getvalue()
