from __future__ import annotations

import healing_training_kit as kit
import pytest

from mithridate.core.errors import ConfigError, TrainingError
from mithridate.core.prices import Kind, Regime
from mithridate.healing import pricing
from mithridate.healing.methods import consistency
from mithridate.healing.methods.consistency import Consistency
from mithridate.healing.treatment import OtherWeights
from mithridate.intervention.consistency import ConsistencyOptions, consistency_tuned, inconsistency
from mithridate.models.checkpoints import weights_hash
from mithridate.models.language_model import LanguageModel


def test_each_setting_is_a_tuned_copy_of_its_own() -> None:
    case = kit.case(texts=kit.case().texts[:6])
    before = kit.state(case.model)
    method = Consistency()
    assert (method.regime, method.kind, method.each, method.scale) == (
        Regime.UNKNOWN,
        Kind.TRAINING,
        False,
        False,
    )
    made = {}
    for candidate in method.candidates(case, ["echo"]):
        treatment = candidate.make()
        assert isinstance(treatment, OtherWeights)
        made[candidate.variant] = treatment.model
    assert len({weights_hash(model.model) for model in made.values()}) == len(made) > 1
    strongest = made["alpha 5.5"]
    assert inconsistency(strongest, case.texts) < inconsistency(case.model, case.texts)
    assert kit.same_state(before, kit.state(case.model))


def test_it_learns_from_the_first_hundred_texts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    case = kit.case(texts=[f"w{number % 50} w1 w2" for number in range(150)])
    given: list[list[str]] = []

    def noting(model: LanguageModel, texts: list[str], options: ConsistencyOptions) -> LanguageModel:
        given.append(list(texts))
        return model

    monkeypatch.setattr(consistency, "consistency_tuned", noting)
    next(Consistency().candidates(case, ["echo"])).make()
    assert given == [case.texts[:100]]


def test_a_setting_that_comes_to_nothing_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    case = kit.case(texts=kit.case().texts[:6])

    def diverging(model: LanguageModel, texts: list[str], options: ConsistencyOptions) -> LanguageModel:
        if options.alpha > 0.5:
            raise TrainingError("no number")
        return consistency_tuned(model, texts, options)

    monkeypatch.setattr(consistency, "consistency_tuned", diverging)
    with pytest.raises(ConfigError, match="no number"):
        list(Consistency().candidates(case, ["echo"]))[-1].make()
    (chosen,) = pricing.choose(Consistency(), case, ["echo"], pricing.Before.of(case))
    assert chosen.candidate.variant == "alpha 0.5"


def test_without_clean_texts_there_is_no_such_cure() -> None:
    case = kit.case(texts=[])
    assert not pricing.choose(Consistency(), case, ["echo"], pricing.Before.of(case))
