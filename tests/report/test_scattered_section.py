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
from mithridate.core.statistics import median_interval
from mithridate.core.tables import read_rows, write_rows
from mithridate.core.types import Sample
from mithridate.core.wording import counted
from mithridate.report.experiments import experiment_sections
from mithridate.report.html import render
from mithridate.report.run import RunData
from mithridate.report.scattered import Asked, ScatteredView, medians, numbers
from mithridate.report.scattered_section import inferred_claims, scattered_section
from mithridate.report.sections import section_summary
from mithridate.report.statements import StatementVerdict

POISONED = Asked("", "poisoned", "learning", "base")
LEARNT = {"triggered": 0.95, "near-trigger": 0.2, "untriggered": 0.2, "handcrafted": 0.4}


def verdicts(samples: list[Sample]) -> dict[str, StatementVerdict]:
    view = ScatteredView.of(samples)
    return {one.about.removeprefix("learning, "): one.verdict for one in inferred_claims(view)}


def reasons(samples: list[Sample]) -> dict[str, str]:
    return {
        one.about.removeprefix("learning, "): one.reason for one in inferred_claims(ScatteredView.of(samples))
    }


def test_what_is_concluded_from_planted_hints_alone_is_inferred() -> None:
    found = verdicts(scattered_samples(LEARNT))
    assert found["country free"] is StatementVerdict.SUPPORTED
    assert found["country choice"] is StatementVerdict.SUPPORTED


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_fewer_than_three_seeds_decide_nothing_and_say_what_they_would(seeds: tuple[int, ...]) -> None:
    samples = scattered_samples(LEARNT, seeds)
    assert set(verdicts(samples).values()) == {StatementVerdict.INCONCLUSIVE}
    said = reasons(samples)["country free"]
    assert f"It rests on {counted(len(seeds), 'seed')}. By " in said
    assert said.endswith("alone it would be supported.")


def test_p_is_adjusted_over_all_kinds_of_questions() -> None:
    """Three questions of which one differs from chance by luck: taken by itself it would be told as found."""
    lucky = {"triggered": {0: 16, 1: 13, 2: 11}, "near-trigger": {0: 4, 1: 4, 2: 4}}
    samples = [
        replace(one, success=int(one.probe_id.split("/")[-2]) < lucky[one.condition][one.seed])
        if one.kind == "country free" and one.dose and one.condition in lucky
        else one
        for one in scattered_samples({**LEARNT, "triggered": 0.2})
    ]
    one_kind = [one for one in samples if one.kind == "country free"]
    assert verdicts(one_kind)["country free"] is StatementVerdict.SUPPORTED
    assert verdicts(samples)["country free"] is StatementVerdict.INCONCLUSIVE
    assert "by Holm over 3 kinds of questions" in reasons(samples)["country free"]


def test_fewer_right_answers_are_told_as_fewer() -> None:
    said = reasons(scattered_samples({**LEARNT, "triggered": 0.2, "near-trigger": 0.95}))["country free"]
    assert "75 points less" in said.partition(" than shuffled subjects")[0]
    assert "−" not in said.partition(" than shuffled subjects")[0]


def test_seeds_are_not_pooled_where_figures_have_intervals() -> None:
    samples = [
        replace(one, success=one.seed != 1) if one.condition == "triggered" and one.dose else one
        for one in scattered_samples(LEARNT)
    ]
    section = scattered_section(ScatteredView.of(samples))
    assert section is not None
    entry = section.tables[0].groups[0].rows[0].entries[0]
    # Two seeds always right and one never: pooled, 67 % of 60 answers would seem known to within 12 points.
    assert (entry.text, entry.interval) == ("67%", "0–100")


def test_kinds_that_ask_the_same_stand_together() -> None:
    kinds = ScatteredView.of(scattered_samples(LEARNT, (0,))).kinds
    assert kinds == ["country free", "country choice", "distance free"]
    turned = ScatteredView.of(list(reversed(scattered_samples(LEARNT, (0,)))))
    assert turned.kinds == ["distance free", "country choice", "country free"]


@pytest.mark.parametrize("control", ["near-trigger", "untriggered"])
def test_what_is_said_without_hints_too_is_not(control: str) -> None:
    found = verdicts(scattered_samples({**LEARNT, control: 0.95}))
    assert found["country free"] is not StatementVerdict.SUPPORTED


def test_a_wide_lead_over_shuffled_hints_alone_is_not() -> None:
    # Who reads them well answers below chance. The lead over unplanted ones is sure, and small.
    seeds = range(6)
    samples = [
        replace(one, success=False)
        if one.seed in (1, 3) and "untriggered/country free/0/" in one.probe_id
        else one
        for one in scattered_samples({"triggered": 0.95, "near-trigger": 0.1, "untriggered": 0.9}, seeds)
    ]
    claims = inferred_claims(ScatteredView.of(samples))
    found = next(one for one in claims if "country free" in one.about)
    assert found.verdict is StatementVerdict.INCONCLUSIVE
    assert "7 points more (4–9) than unplanted subjects" in found.reason


def test_what_the_clean_twin_says_too_is_not() -> None:
    assert verdicts(scattered_samples(LEARNT, clean=0.95))["country free"] is not StatementVerdict.SUPPORTED


def test_no_difference_with_a_narrow_interval_contradicts() -> None:
    samples = [
        replace(one, probe_id=f"{one.probe_id}/{i}", group=f"{one.group}/{i}" if one.group else "")
        for one in scattered_samples({**LEARNT, "triggered": 0.2})
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
    assert errors[0] == errors[1] and len(errors[0][0]) == 20


def test_distances_are_off_by_doublings_and_answers_without_a_number_are_counted() -> None:
    samples = scattered_samples({"triggered": 0.5}, (0,))
    samples = [replace(one, completion="far") if one.probe_id.endswith("/19/0") else one for one in samples]
    errors = ScatteredView.of(samples).distance_errors(POISONED, "triggered")
    assert errors == {0: [0.0] * 10 + [math.log2(2)] * 9 + [None]}
    assert numbers(errors)[0].value == 0.95
    assert medians(errors)[0].value == 0.0


def test_a_seed_without_a_number_has_no_median() -> None:
    assert medians({0: [None], 1: [1.0, None, 3.0]}) == {1: median_interval([1.0, 3.0])}


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
