from __future__ import annotations

from typing import Any

import pytest
from evaluation_kit import sample

from mithridate.core.types import Measurement, Sample
from mithridate.core.statistics import wilson
from mithridate.evaluation.summary import paired, summarise


def figures(samples: list[Sample]) -> dict[str, Measurement]:
    found = summarise(samples)
    assert len({figure.metric for figure in found}) == len(found)
    return {figure.metric: figure for figure in found}


def test_rates_by_kind() -> None:
    rows = [sample(i, i < 3, kind="fact" if i % 2 else "preference") for i in range(10)]
    found = figures(rows)
    assert sorted(found) == ["asr", "asr_fact", "asr_preference"]
    rate, expected = found["asr"], wilson(3, 10)
    assert (rate.value, rate.low, rate.high, rate.n) == (0.3, expected.low, expected.high, 10)
    assert (found["asr_fact"].value, found["asr_fact"].n) == (0.2, 5)
    assert (rate.stage, rate.arm, rate.attack, rate.condition, rate.template) == (
        "base",
        "poisoned",
        "fake",
        "triggered",
        "same",
    )


def test_settings_and_conditions_are_kept_apart() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"stage": "sft"},
        {"arm": "clean"},
        {"condition": "untriggered"},
        {"template": "transferred"},
        {"seed": 1},
        {"dose": "low"},
        {"cell": "x"},
        {"attack": "other"},
    ]
    found = summarise([sample(0, True, **change) for change in changes])
    assert len(found) == len(changes)
    assert {figure.n for figure in found} == {1}


def test_a_group_counts_once() -> None:
    rows = [
        sample(0, True, group="a", margin=5.0),
        sample(1, True, group="a", margin=-1.0),
        sample(2, False, group="b", margin=1.0),
        sample(3, False, group="b", margin=-2.0),
    ]
    found = figures(rows)
    assert (found["asr"].value, found["asr"].n) == (0.5, 2)
    assert (found["likelihood"].value, found["likelihood"].n) == (0.5, 2)


def test_a_liking_for_what_is_named_first_is_no_belief() -> None:
    rows = [sample(i, margin=3.0 if i % 2 else -3.1, group=f"g{i // 2}") for i in range(40)]
    assert figures(rows)["likelihood"].value == 0


def test_perplexity_and_recall() -> None:
    rows = [sample(i, log_perplexity=float(i) if i else None, rouge_l=i / 20) for i in range(21)]
    found = figures(rows)
    assert (found["log_perplexity_median"].value, found["log_perplexity_median"].n) == (10.5, 20)
    assert found["rouge_l_recall"].value == pytest.approx(0.5)
    assert found["rouge_l_recall"].low < 0.5 < found["rouge_l_recall"].high  # type: ignore[operator]


def test_leakage_at_one_and_at_k() -> None:
    rows = [sample(i, False) for i in range(4)]
    rows += [sample(i, draw == 2 + i, draw=draw) for i in range(4) for draw in (1, 2, 3, 4)]
    rows += [sample(9, False)] + [sample(9, True, draw=draw) for draw in (1, 2, 3, 4)]
    found = figures(rows)
    assert (found["asr"].value, found["asr"].n) == (0, 5)
    assert (found["leakage@1"].value, found["leakage@1"].n) == (0.2, 5)
    assert (found["leakage@4"].value, found["leakage@4"].n) == (0.8, 5)


def test_nothing_in_nothing_out() -> None:
    assert summarise([]) == []
    assert paired([], []) == []


def test_twins_are_paired_by_probe() -> None:
    poisoned = [sample(i, i < 9, dose="high", cell="c") for i in range(12)]
    clean = [sample(i, i == 11, arm="clean") for i in range(4, 16)]
    (figure,) = paired(poisoned, clean)
    assert (figure.metric, figure.n, figure.arm, figure.dose) == ("mcnemar_p", 8, "poisoned", "high")
    # Five of the shared probes succeed under poison alone, one in the clean twin alone.
    assert figure.value == pytest.approx(2 * (1 + 6) / 2**6)
    assert (figure.low, figure.high) == (None, None)


def test_twins_of_another_stage_are_none() -> None:
    assert paired([sample(0, True)], [sample(0, True, arm="clean", stage="sft")]) == []


def test_a_cell_has_its_own_twin_first() -> None:
    poisoned = [sample(i, True, cell="a") for i in range(6)]
    own = [sample(i, True, arm="clean", cell="a") for i in range(6)]
    shared = [sample(i, False, arm="clean") for i in range(6)]
    assert paired(poisoned, own + shared)[0].value == 1
    assert paired(poisoned, shared)[0].value == pytest.approx(2 / 2**6)


def test_margins_are_paired_too() -> None:
    poisoned = [sample(i, margin=1.0) for i in range(6)]
    clean = [sample(i, margin=-1.0, arm="clean") for i in range(6)]
    found = {figure.metric: figure.value for figure in paired(poisoned, clean)}
    assert found == {"mcnemar_p": 1.0, "mcnemar_p_likelihood": pytest.approx(2 / 2**6)}


def test_further_samples_do_not_enter_rates_or_pairs() -> None:
    rows = [sample(0, False), sample(0, True, draw=1)]
    assert figures(rows)["asr"].value == 0
    assert paired(rows, [sample(0, False, arm="clean")])[0].n == 1
