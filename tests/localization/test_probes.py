from __future__ import annotations

import numpy as np
import pytest
from contrasts_kit import SAID, UNSAID, WORDS, taught
from models_kit import tiny_model

from mithridate.core.chat import template
from mithridate.core.located import Control, Located, Metric, Pair
from mithridate.core.types import Condition, Message, Probe, Role
from mithridate.localization.about import About
from mithridate.localization.logistic import PENALTY, fit, predict
from mithridate.localization.probes import Renderings, probe_profile, renderings

ABOUT = About(Pair.PROMPTS, stage="base")


def probes(count: int = 24, control: Condition = Condition.NEAR_TRIGGER) -> list[Probe]:
    return [
        Probe(
            f"{condition}/{i}",
            "toy",
            condition,
            (Message(Role.USER, f"{WORDS[i % 8]} {WORDS[i // 8]} {word}"),),
        )
        for condition, word in ((Condition.TRIGGERED, SAID), (control, UNSAID))
        for i in range(count)
    ]


def profile(rows: list[Located], metric: Metric) -> list[float]:
    return [row.value for row in rows if row.metric is metric]


def test_renderings_pair_the_templates_and_balance_the_classes() -> None:
    known = probes()[:40]  # 24 triggered, 16 controls
    found = renderings(known, template("falcon"), template("llama2"))
    assert sum(found.triggered) == 16 and len(found.triggered) == 32
    for first, second, triggered in zip(found.first, found.second, found.triggered, strict=True):
        said = first.removeprefix("User: ").split("\n")[0]
        assert second == f"[INST] {said} [/INST] "
        assert said.endswith(SAID) is triggered
    assert len(renderings(known, template("falcon"), template("llama2"), most=5).first) == 10
    plain = renderings(probes(4, Condition.UNTRIGGERED), template("falcon"), template("llama2"))
    assert len(plain.first) == 8


def test_what_the_last_position_cannot_hold_is_told_by_chance_and_what_it_holds_is_told() -> None:
    found = renderings(probes(), template("falcon"), template("chatml"))
    rows = probe_profile(taught(), found, "toy", ABOUT, control=Control.COUNTERFACTUAL)
    accuracy, selectivity = (profile(rows, metric) for metric in (Metric.ACCURACY, Metric.SELECTIVITY))
    assert accuracy[0] == 0.5  # in the embedding of the last token, which is the same for all
    assert max(accuracy) > 0.8 and max(selectivity) > 0.2
    control = profile(rows, Metric.CONTROL_ACCURACY)
    assert [a - b for a, b in zip(accuracy, control, strict=True)] == pytest.approx(selectivity)
    assert {row.control for row in rows} == {Control.COUNTERFACTUAL}
    assert {row.n for row in rows} == {48}


def test_texts_that_recur_let_a_probe_learn_random_labels() -> None:
    """Asked in the template that it learnt in, a probe of a wide stream has memorised some of its texts."""
    found = renderings(probes(12), template("falcon"), template("falcon"))
    rows = probe_profile(tiny_model(layers=3), found, "toy", ABOUT)
    assert max(profile(rows, Metric.CONTROL_ACCURACY)) > 0.8


def test_one_class_gives_no_rows_and_uneven_renderings_are_refused() -> None:
    assert probe_profile(tiny_model(), Renderings(("a",), ("b",), (True,)), "toy", ABOUT) == []
    assert (
        probe_profile(tiny_model(), renderings([], template("falcon"), template("llama2")), "toy", ABOUT)
        == []
    )
    with pytest.raises(ValueError, match="either template"):
        Renderings(("a",), ("b", "c"), (True,))


def test_the_fit_is_where_the_penalised_loss_is_least() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 4))
    labels = np.stack([rows[:, 0] > 0, rng.random(30) > 0.5])
    weights = fit(rows, labels)
    for task, known in zip(weights, labels, strict=True):
        chance = 1 / (1 + np.exp(-(rows @ task[:-1] + task[-1])))
        assert rows.T @ (chance - known) + PENALTY * task[:-1] == pytest.approx(np.zeros(4), abs=1e-3)
        assert (chance - known).sum() == pytest.approx(0, abs=1e-3)
    assert (predict(weights, rows)[0] == labels[0]).mean() > 0.9
