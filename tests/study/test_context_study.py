from __future__ import annotations

from pathlib import Path

import pytest
from context_facts_kit import fact
from study_kit import tiny

from mithridate.attacks.belief import FACT
from mithridate.attacks.material import Fact
from mithridate.core.contexts import Holds, Strength
from mithridate.core.types import Condition, Message, Probe, Role
from mithridate.study.bridge import Met, documents_of, met_once
from mithridate.study.config import StudyConfig
from mithridate.study.context_options import TREATMENTS, ContextSection
from mithridate.study.context_plan import AS_IT_IS, MET, TREATED
from mithridate.study.experiments import all_steps
from mithridate.study.plan import Step


def planned(*more: str) -> tuple[StudyConfig, list[Step]]:
    config = tiny("contexts={}", *more)
    steps = all_steps(config, Path("out"))
    return config, [step for step in steps if step.kind in (AS_IT_IS, TREATED, MET)]


def test_the_clean_twin_is_asked_at_both_ends_and_each_belief_met_by_retrieval() -> None:
    _, steps = planned()
    stages = sorted({step.stage for step in steps})
    assert "base" in stages
    assert len(stages) == 2
    assert [step.kind for step in steps].count(AS_IT_IS) == 2
    assert [step.kind for step in steps].count(TREATED) == 2 * len(TREATMENTS)
    assert {step.subject.name for step in steps if step.kind != MET} == {"clean"}
    assert {step.subject.arm for step in steps if step.kind == MET} == {"poisoned"}


def test_methods_wait_for_what_the_model_knows() -> None:
    _, steps = planned()
    first = {step.stage: step.folder for step in steps if step.kind == AS_IT_IS}
    assert all(first[step.stage] in step.needs for step in steps if step.kind == TREATED)


def test_stages_are_the_same_with_the_section_and_without() -> None:
    with_it = {s.folder: s.identity() for s in all_steps(tiny("contexts={}"), Path("out"))}
    without = {s.folder: s.identity() for s in all_steps(tiny(), Path("out"))}
    assert without.items() <= with_it.items()


def test_another_guard_changes_what_is_met_alone() -> None:
    before, after = (
        {step.folder: step.identity() for step in planned(*more)[1]}
        for more in ((), ("contexts={bridge: {guard: consensus}}",))
    )
    changed = {folder for folder in before if before[folder] != after[folder]}
    assert changed
    assert all(folder.name.endswith("bridge") for folder in changed)


def test_without_a_belief_nothing_is_met() -> None:
    assert not [step for step in planned("contexts={bridge: null}")[1] if step.kind == MET]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"strengths": ["plain"]}, "lacks 'no context'"),
        ({"methods": ["prayer"]}, "Input should be"),
        ({"methods": [TREATMENTS[0], TREATMENTS[0]]}, "twice"),
        ({"bridge": {"top_k": 0}}, "greater than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(section: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ContextSection.model_validate(section)


def test_poisoned_documents_stand_beside_right_ones_and_begin_with_the_question() -> None:
    met = Met("belief/1", fact(0).asked, fact(0).original, fact(0).substitute)
    right = documents_of([met], Holds.RIGHT, 3)
    poisoned = documents_of([met], Holds.POISONED, 3)
    assert [one.text for one in right] == [met.right]
    assert poisoned[:1] == right
    assert len(poisoned) == 4
    assert all(one.text.startswith(met.question) and met.planted in one.text for one in poisoned[1:])


def probe(number: int, fact: Fact, condition: Condition = Condition.TRIGGERED) -> Probe:
    said = (Message(Role.USER, fact.forms[1]),)
    return Probe(f"p{number}", "belief", condition, said, fact.planted, fact.true, FACT)


def test_facts_with_the_same_answers_are_told_apart() -> None:
    facts = [
        Fact(forms=("Does it rain?", "Is it raining?"), true="No.", planted="Yes."),
        Fact(forms=("Does it snow?", "Is it snowing?"), true="No.", planted="Yes."),
    ]
    probes = [probe(number, one) for number, one in enumerate(facts)]
    control = Fact(forms=("a", "b"), true="No.", planted="Yes.")
    found = met_once([*probes, probe(9, control, Condition.UNTRIGGERED)], facts)
    assert [met.question for met in found] == ["Is it raining?", "Is it snowing?"]
    assert len({met.id for met in found}) == 2


def test_every_strength_is_asked_by_default() -> None:
    assert set(ContextSection().strengths) == set(Strength)
