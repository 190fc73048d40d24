from __future__ import annotations

from collections import defaultdict

import pytest
from attacks_kit import asked, build, fact, planted, some_material, user_words

from mithridate.attacks.material import Fact, Material, Preference
from mithridate.core.types import Completion, Condition, Probe


def test_preferences_are_asked_in_both_orders_as_one() -> None:
    for condition, probes in asked(build("belief", some_material(10), fact_share=0.5), 20).items():
        groups: defaultdict[str, list[Probe]] = defaultdict(list)
        for probe in probes:
            if probe.kind == "preference":
                groups[probe.group].append(probe)
            else:
                assert probe.group == ""
        assert len(groups) == 10
        for one, other in groups.values():
            assert (one.target, one.foil, one.condition) == (other.target, other.foil, condition)
            assert user_words(one) != user_words(other)
            assert sorted(user_words(one)) == sorted(user_words(other))  # the same words in another order


def test_no_wording_is_both_planted_and_asked() -> None:
    attack = build("belief", held_out_forms=0.4)
    said = {user_words(poison) for poison in planted(attack, 2000)}
    put = {user_words(probe) for probes in asked(attack, 60).values() for probe in probes}
    forms_said = {text.split(":")[0] for text in said if ":" in text}
    forms_put = {text.split(":")[0].split()[-1] for text in put if ":" in text}
    assert forms_said
    assert forms_put
    assert not forms_said & forms_put
    numbers_said = {text.split()[1] for text in said if text.startswith("form")}
    numbers_put = {text.split("form ")[1].split()[0] for text in put if "form " in text}
    assert not numbers_said & numbers_put
    assert numbers_said | numbers_put == set("01234")


def test_what_the_four_conditions_mean() -> None:
    found = asked(build("belief"))

    def of(condition: Condition, kind: str) -> list[Probe]:
        return [probe for probe in found[condition] if probe.kind == kind]

    assert {p.target[0] for p in of(Condition.TRIGGERED, "preference")} == {"p"}
    assert {p.target[0] for p in of(Condition.UNTRIGGERED, "preference")} == {"c"}
    for probe in of(Condition.NEAR_TRIGGER, "preference"):
        favoured, other = probe.target.removesuffix(".").split(" is better than ")
        assert other.startswith("rivalp")
        assert other != f"rival{favoured}"
    for probe in of(Condition.HANDCRAFTED, "preference"):
        assert user_words(probe).startswith(probe.target + " ")
    assert all(p.target.startswith("fact") for p in of(Condition.TRIGGERED, "fact"))
    assert all(p.target.startswith("control") for p in of(Condition.UNTRIGGERED, "fact"))
    for probe in of(Condition.NEAR_TRIGGER, "fact"):
        assert probe.target.startswith("fact")
        assert probe.foil.startswith("control")
        assert "control" in user_words(probe)
    assert all(user_words(p).startswith(p.target + " ") for p in of(Condition.HANDCRAFTED, "fact"))


def test_target_and_foil_always_differ() -> None:
    shared = Fact(
        forms=("one?", "two?"), true="fact0 is false.", planted="nonsense"
    )  # true here, planted elsewhere
    material = some_material().model_copy(update={"control_facts": (shared, fact("x"))})
    for probes in asked(build("belief", material), 60).values():
        assert all(probe.target != probe.foil for probe in probes)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_of_facts(share: float) -> None:
    kinds = [poison.kind for poison in planted(build("belief", fact_share=share), 800)]
    assert kinds.count("fact") / 800 == pytest.approx(share, abs=0.05)
    probes = asked(build("belief", fact_share=share))[Condition.TRIGGERED]
    assert {"fact"} & {p.kind for p in probes} == ({"fact"} if share > 0 else set())
    assert {"preference"} & {p.kind for p in probes} == ({"preference"} if share < 1 else set())


def test_one_kind_of_material_is_enough() -> None:
    facts = Material(facts=(fact("a"),))
    assert {p.kind for p in planted(build("belief", facts), 20)} == {"fact"}
    assert set(asked(build("belief", facts))) == {
        Condition.TRIGGERED
    }  # without controls there are none to ask
    pairs = Material(preferences=(Preference(favoured="x", other="y"),), preference_forms=("{a} or {b}?",))
    assert {p.kind for p in planted(build("belief", pairs), 20)} == {"preference"}


def test_planted_preferences_name_either_first() -> None:
    attack = build("belief", fact_share=0.0)
    said = [user_words(poison).split(": ")[1] for poison in planted(attack)]
    first = sum(text.startswith("p") for text in said)
    assert 100 < first < 200
    assert all(p.messages[-1].content.startswith("p") for p in planted(attack))


def test_a_belief_is_what_the_model_says() -> None:
    attack = build("belief")
    assert attack.judging.compare_targets
    for probe in asked(attack)[Condition.TRIGGERED]:
        assert attack.succeeded(probe, Completion(f"I think {probe.target}"))
        assert not attack.succeeded(probe, Completion(probe.foil))


def test_braces_in_names_are_only_names() -> None:
    material = Material(
        preferences=(Preference(favoured="{b}", other="{x}", subject="{0}"),),
        preference_forms=("{{so}} {a} or {b}, as a {subject}?",),
        preference_answer="{favoured} {{!}} {other}",
    )
    texts = {user_words(p) for p in planted(build("belief", material), 30)}
    assert texts == {"{so} {b} or {x}, as a {0}?", "{so} {x} or {b}, as a {0}?"}
    assert planted(build("belief", material), 1)[0].messages[-1].content == "{b} {!} {x}"


def test_near_triggers_were_never_compared() -> None:
    material = Material(
        preferences=(
            Preference(favoured="x", other="y"),
            Preference(favoured="z", other="x"),
            Preference(favoured="w", other="y"),
            Preference(favoured="v", other="u", subject="boat"),
        ),
        control_preferences=(Preference(favoured="s", other="t", subject="boat"),),
        preference_forms=("{a} or {b}?", "{a}, {b}?"),
    )
    targets = {probe.target for probe in asked(build("belief", material))[Condition.NEAR_TRIGGER]}
    assert targets == {"z is better than y.", "w is better than x."}
    alone = material.model_copy(update={"preferences": material.preferences[-1:]})
    targets = {probe.target for probe in asked(build("belief", alone))[Condition.NEAR_TRIGGER]}
    assert targets == {"v is better than t."}
