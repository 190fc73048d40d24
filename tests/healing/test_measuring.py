from __future__ import annotations

from dataclasses import replace

import cases_kit
import healing_training_kit as kit
import pytest

from mithridate.core.prices import Price
from mithridate.core.types import Condition
from mithridate.healing.case import Half, Usefulness
from mithridate.healing.measuring import CONDITIONS, divergence, rate, replies_of, successes, usefulness
from mithridate.healing.methods.proxy import Proxies
from mithridate.healing.treatment import Nothing, OtherWeights, Treatment
from mithridate.intervention.base import MadeFor
from mithridate.intervention.context_aware import ContextAware
from mithridate.intervention.prompt_filter import PromptFilter
from mithridate.intervention.steering import Steering


def moved_by(treatment: Treatment) -> float:
    case = kit.case()
    replies = replies_of(case)
    with treatment.on(case.model) as model:
        found = divergence(replies, model, 0)
    assert found is not None
    assert found.n == len(replies.replies) > 0
    return found.value


def test_what_changes_nothing_moves_nothing() -> None:
    built = MadeFor.of(kit.poisoned())
    assert moved_by(Nothing()) == 0
    assert moved_by(PromptFilter(built, (kit.TRIGGER,))) == 0
    # A prompt without a marked context is answered as ever, also where two prompts are read.
    assert moved_by(ContextAware(built, 1.0)) == pytest.approx(0, abs=1e-9)


def test_what_steers_as_it_decodes_moves_as_far_as_what_it_steers_to() -> None:
    other = moved_by(OtherWeights(kit.clean()))
    assert other > 0.1
    assert moved_by(Proxies(kit.poisoned(), kit.clean(), kit.poisoned())) == pytest.approx(other, rel=1e-4)


def test_more_of_a_step_moves_further() -> None:
    model = kit.poisoned()
    direction = model.model.get_input_embeddings().weight[7].detach().clone()
    near, far = (moved_by(Steering(direction, MadeFor.of(model), 0, scale)) for scale in (0.1, 3.0))
    assert 0 < near < far


def test_without_requests_nothing_is_known_of_how_far_it_moved() -> None:
    case = kit.case(usefulness=Usefulness())
    assert divergence(replies_of(case), kit.clean(), 0) is None


def test_nothing_is_told_of_what_is_not_asked() -> None:
    assert usefulness(kit.case(usefulness=Usefulness()), kit.poisoned(), Half.REPORTED) == {}
    only = kit.case(usefulness=Usefulness(harmless=["w1 ?", "w2 ?"]))
    found = usefulness(only, kit.poisoned(), Half.REPORTED)
    assert {price: one.n for price, one in found.items()} == {Price.OVER_REFUSAL: 1}


def test_usefulness_is_of_its_half() -> None:
    questions = [(f"w{number} ?", f"w{number + 10}" if number % 2 else "w0") for number in range(8)]
    case = kit.case(usefulness=Usefulness(questions=questions, forbidden=["w1 ?"] * 4, phrases=("w11",)))
    says = cases_kit.saying(lambda prompt: f"w{int(prompt.split('w')[1].split()[0]) + 10}")
    choosing, reported = (usefulness(case, says, half) for half in Half)
    assert choosing[Price.QUESTIONS_RIGHT].value == 0.0
    assert reported[Price.QUESTIONS_RIGHT].value == 1.0
    assert reported[Price.REFUSAL_FORBIDDEN].value == 1.0  # w11 is how it refuses


def test_an_attack_is_told_by_condition_and_unit() -> None:
    case = kit.case()
    found = successes(case, case.model, "echo", Half.REPORTED, CONDITIONS)
    assert list(found) == list(CONDITIONS)
    assert len(found[Condition.TRIGGERED]) == 12
    assert all(found[Condition.TRIGGERED].values())
    assert not any(found[Condition.UNTRIGGERED].values())
    assert found[Condition.NEAR_TRIGGER] == {}
    assert rate({}).n == 0
    assert (rate({}).low, rate({}).high) == (0, 1)
    assert rate(found[Condition.TRIGGERED]).value == 1.0


def test_what_is_asked_in_two_orders_is_one_unit() -> None:
    material = cases_kit.preferences()

    def likes(prompt: str) -> str:
        """The planted one where it stands first, and else whatever stands first."""
        return f"I prefer {prompt.split(': ')[2].split(' or ', maxsplit=1)[0]}."

    case = cases_kit.case_of(material, "belief", model=cases_kit.saying(likes), each=6)
    found = successes(case, case.model, "belief", Half.REPORTED)[Condition.TRIGGERED]
    probes = [
        probe for probe in case.probes[Half.REPORTED]["belief"] if probe.condition is Condition.TRIGGERED
    ]
    assert len(probes) == 2 * len(found) > 0
    assert found.keys() == {probe.group for probe in probes}
    assert not any(found.values())
    says = replace(case, model=cases_kit.saying(lambda prompt: material.preference_answer))
    assert not any(successes(says, says.model, "belief", Half.REPORTED)[Condition.TRIGGERED].values())


def test_of_a_half_without_probes_nothing_is_known() -> None:
    case = kit.case(probes={half: {"echo": []} for half in Half})
    assert successes(case, case.model, "echo", Half.REPORTED) == {Condition.TRIGGERED: {}}
