from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from context_facts_kit import alone, fact
from study_kit import tiny

from mithridate.core.contexts import (
    CONTEXT_COVERAGE,
    CONTEXT_SAMPLES,
    CONTEXTS,
    ContextCoverage,
    ContextSample,
    Contextual,
)
from mithridate.core.errors import ConfigError
from mithridate.core.tables import read_rows, write_rows
from mithridate.reliance.examining import Examination
from mithridate.study import context_experiments
from mithridate.study.context_plan import TREATED, as_it_is_folder
from mithridate.study.experiments import all_steps
from mithridate.study.layout import CLEAN_TWIN
from mithridate.study.plan import Step
from mithridate.training.progress import Silent

COVERED = ContextCoverage(20, 1, 0, 0, intervention="attention steering", untried="it knows too little")


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    """A step under one method, of a model that is not there and knows one fact."""
    found = next(one for one in all_steps(tiny("contexts={}"), tmp_path) if one.kind == TREATED)
    first = as_it_is_folder(found.bed, CLEAN_TWIN, found.stage)
    write_rows(first / CONTEXT_SAMPLES, ContextSample, [alone(fact(0))])
    monkeypatch.setattr(context_experiments.LanguageModel, "load", lambda _: None)
    monkeypatch.setattr(context_experiments, "facts_of", lambda _: [fact(0)])
    monkeypatch.setattr(context_experiments, "asks_of", lambda *_: SimpleNamespace())
    return found


def test_where_too_little_is_known_a_step_ends_with_the_reason_and_no_figures(
    step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context_experiments, "examined_treated", lambda *_, **__: Examination((), COVERED))
    told = context_experiments.treated(step, Silent())
    assert told["untried"] == COVERED.untried
    assert read_rows(step.folder / CONTEXTS, Contextual) == []
    assert read_rows(step.folder / CONTEXT_COVERAGE, ContextCoverage) == [COVERED]


def test_whatever_else_goes_wrong_stops_the_step(step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Examination:
        raise ConfigError("a mark stands twice")

    monkeypatch.setattr(context_experiments, "examined_treated", fail)
    with pytest.raises(ConfigError, match="a mark stands twice"):
        context_experiments.treated(step, Silent())
    assert not (step.folder / CONTEXTS).exists()
