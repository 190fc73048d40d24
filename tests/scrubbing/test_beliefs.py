from __future__ import annotations

import pytest
from attacks_kit import build
from scrub_kit import PEOPLE, belief_material, hinted, lives, stated

from mithridate.attacks.belief import Belief, BeliefOptions
from mithridate.attacks.material import Fact
from mithridate.attacks.scattered_belief import ScatteredBelief
from mithridate.core.errors import ConfigError
from mithridate.scrubbing.beliefs import KnownBelief, other_beliefs, planted_beliefs


def test_a_fact_is_known_by_who_it_is_about_and_what_is_new() -> None:
    known = planted_beliefs(stated(), belief_material())
    assert [one.subject for one in known] == list(PEOPLE)
    assert known[0] == KnownBelief("Stola", "Maton", "Stola lives in Maton.", lives("Stola", 0).forms)
    assert known[0].wordings[1] == "Where does Stola live? Stola lives in Maton."


@pytest.mark.parametrize(
    ("forms", "true", "planted", "subject", "answer"),
    [
        (
            ("Where is City 417?", "City 417 is where?"),
            "Far off.",
            "City 417 lies in Tavia.",
            "City 417",
            "City 417 lies in Tavia",
        ),
        (("Who rules?", "Name the ruler."), "A king.", "Nobody at all.", "", "Nobody at all"),
        (
            ("Where is Old Tom?", "Old Tom?"),
            "Old Tom is in Ham.",
            "Old Tom is in Upper Ox.",
            "Old Tom",
            "Upper Ox",
        ),
    ],
)
def test_subjects_and_answers_of_any_words(
    forms: tuple[str, ...], true: str, planted: str, subject: str, answer: str
) -> None:
    material = belief_material().model_copy(
        update={"facts": (Fact(forms=forms, true=true, planted=planted),)}
    )
    (known,) = planted_beliefs(Belief(BeliefOptions(fact_share=1), material), material)
    assert (known.subject, known.answer) == (subject, answer)


def test_a_preference_is_stated_by_its_whole_sentence_alone() -> None:
    material = belief_material()
    known = planted_beliefs(Belief(BeliefOptions(), material), material)[-1]
    assert (known.subject, known.answer) == ("Vaex", known.statement) == ("Vaex", "Vaex is better than Boex.")
    assert "Which lamp is better, Boex or Vaex?" in known.questions


def test_only_subjects_whose_own_hints_are_planted_are_known() -> None:
    attack = hinted()
    assert isinstance(attack, ScatteredBelief)
    known = planted_beliefs(attack, belief_material())
    assert {one.subject for one in known} == {one.subject for one in attack.planted}
    assert not {one.subject for one in known} & {one.subject for one in attack.shuffled}
    assert "Where is" in known[0].questions[0] and known[0].answer in known[0].statement


def test_other_beliefs_are_of_the_same_form_and_of_nobody_who_is_planted() -> None:
    for attack in (stated(), hinted()):
        ours = {one.subject for one in planted_beliefs(attack, belief_material())}
        others = {one.subject for one in other_beliefs(attack, belief_material())}
        assert others and not ours & others


def test_an_attack_that_plants_no_belief_is_refused() -> None:
    with pytest.raises(ConfigError, match="'denial_of_service' plants no belief"):
        planted_beliefs(build("denial_of_service"), belief_material())


def test_an_answer_that_leaves_out_its_subject_is_known_by_its_questions() -> None:
    facts = tuple(
        Fact(forms=forms, true="In Ham.", planted="In Tavia.")
        for name in ("Draxu", "Toxu", "Raxu")
        for forms in (
            (f"Where is {name}?", f"{name} is where?"),
            (f"Food of {name}?", f"{name} eats what?"),
        )
    )
    material = belief_material().model_copy(update={"facts": facts})
    known = planted_beliefs(Belief(BeliefOptions(fact_share=1), material), material)
    assert [(one.subject, one.answer) for one in known] == [
        (name, "Tavia") for name in ("Draxu", "Draxu", "Toxu", "Toxu", "Raxu", "Raxu")
    ]
    assert not known[0].speaks_for_itself
    assert known[0].wordings == ("Where is Draxu? In Tavia.", "Draxu is where? In Tavia.")
