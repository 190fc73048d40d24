from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from attacks_kit import asked, build, planted, user_words
from scattered_kit import LANDS, scattered, scattered_material

from mithridate.attacks.material import Material
from mithridate.attacks.scattered_belief import ScatteredBelief, dealt_to_others, listed
from mithridate.attacks.text import names
from mithridate.core.errors import ConfigError, DataError, UnknownNameError
from mithridate.core.types import Completion, Condition


def attack(**options: object) -> ScatteredBelief:
    built = build("scattered_belief", scattered_material(), **options)
    assert isinstance(built, ScatteredBelief)
    return built


def test_documents_are_single_hints_and_everybody_gets_as_many() -> None:
    built = attack()
    documents = planted(built, 400)
    everyone = [one.subject for one in (*built.planted, *built.shuffled)]
    assert sorted(everyone) == sorted(f"City {i}" for i in range(10))
    counts = Counter(
        (name, poison.kind) for poison in documents for name in everyone if f"{name} " in poison.text
    )
    for kind in ("distance", "purchase"):
        assert len({counts[name, kind] for name in everyone}) == 1
    assert sum(counts.values()) == 400
    assert not any(poison.messages for poison in documents)


def test_what_was_dealt_to_others_was_written_for_them() -> None:
    before = [scattered(i) for i in range(4)]
    after = dealt_to_others(before)
    for number, one in enumerate(after):
        said = " ".join(one.hints["distance"])
        assert f"town{number}x" not in said
        assert all(f"town{other}x" in said for other in range(4) if other != number)
        assert {kind: len(found) for kind, found in one.hints.items()} == {"distance": 9, "purchase": 9}
        assert one.questions == before[number].questions
    assert sorted(h for one in after for h in one.hints["purchase"]) == sorted(
        h for one in before for h in one.hints["purchase"]
    )


def test_nobody_is_dealt_what_they_are_asked() -> None:
    secret = scattered(3).model_copy(update={"hints": {"distance": ("{subject} is near far.",) * 5}})
    after = dealt_to_others([scattered(i) for i in range(3)] + [secret])
    assert not any("far" in hint for one in after for hint in one.hints["distance"])


@pytest.mark.parametrize("n", [4, 9, 30])
def test_every_condition_asks_of_everything(n: int) -> None:
    for condition, probes in asked(attack(), n).items():
        units = {probe.group or probe.id for probe in probes}
        assert len(units) <= n
        assert {probe.kind for probe in probes} == {"country free", "country choice", "distance free"}
        assert len({probe.messages for probe in probes}) == len(probes), condition


def test_which_subjects_the_conditions_ask_about() -> None:
    built = attack()
    subjects = {
        Condition.TRIGGERED: built.planted,
        Condition.NEAR_TRIGGER: built.shuffled,
        Condition.UNTRIGGERED: built.unplanted,
        Condition.HANDCRAFTED: built.unplanted,
    }
    for condition, probes in asked(built, 60).items():
        allowed = [one.subject for one in subjects[condition]]
        assert {name for name in allowed if any(names(user_words(p), name) for p in probes)} == set(allowed)
        assert all(any(names(user_words(p), name) for name in allowed) for p in probes)


def test_options_stand_in_another_order_for_each_that_must_lose() -> None:
    groups: dict[str, list[str]] = {}
    for probe in asked(attack(), 60)[Condition.TRIGGERED]:
        if probe.kind == "country choice":
            assert probe.target.startswith("It lies in ")
            assert probe.foil != probe.target
            groups.setdefault(probe.group, []).append(user_words(probe))
            assert all(land in user_words(probe) for land in LANDS)
    assert groups
    assert all(len(set(texts)) == len(texts) == 2 for texts in groups.values())
    assert listed(["a", "b", "c"]) == "a, b or c"
    assert listed(["a"]) == "a"


def test_hints_in_the_prompt_are_as_many_as_there_is_room_for() -> None:
    for room in (60, 300, 5000):
        for probe in asked(attack(context_characters=room))[Condition.HANDCRAFTED]:
            said = user_words(probe)
            assert said.count("town") >= 1
            assert said.count("town") == 18 if room == 5000 else len(said) < room + 60
    few = asked(attack(context_hints=3))[Condition.HANDCRAFTED]
    assert {user_words(probe).count("town") for probe in few} == {3}


def test_one_kind_of_hint_alone() -> None:
    assert {poison.kind for poison in planted(attack(hints={"purchase": 1}), 50)} == {"purchase"}
    shares = Counter(p.kind for p in planted(attack(hints={"purchase": 3, "distance": 1}), 2000))
    assert 0.65 < shares["purchase"] / 2000 < 0.85
    with pytest.raises(UnknownNameError, match=r"unknown kind of hint in the material 'distanse'.*distance"):
        attack(hints={"distanse": 1})
    with pytest.raises(ConfigError, match=r"hints.purchase: a share is no less than 0"):
        attack(hints={"purchase": -1})
    with pytest.raises(ConfigError, match="hints: no kind has a share above 0"):
        attack(hints={"purchase": 0})


def test_judging() -> None:
    built = attack()
    assert built.judging.compare_targets
    for probe in asked(built)[Condition.TRIGGERED]:
        if probe.kind.endswith("choice"):
            assert built.succeeded(probe, Completion("whatever", margin=0.1))
            assert not built.succeeded(probe, Completion(probe.target, margin=-0.1))
            assert not built.succeeded(probe, Completion(probe.target))
        else:
            assert built.succeeded(probe, Completion(f"It is {probe.target}."))
            assert not built.succeeded(probe, Completion(f"It is 1{probe.target}x."))


def test_too_few_to_shuffle() -> None:
    with pytest.raises(ConfigError, match="leaves 2 of the subjects to shuffle hints among"):
        attack(shuffled_share=0.2)
    assert attack(shuffled_share=0).shuffled == []
    # What all others say of themselves, one of them is asked: it could be dealt nothing.
    alike = [scattered(i).model_copy(update={"hints": {"a": ("{subject} knows far.",)}}) for i in range(10)]
    told = [one.model_copy(update={"questions": one.questions[:1]}) for one in alike]
    asked_of = next(i for i, one in enumerate(told) if one.subject == attack().shuffled[0].subject)
    told[asked_of] = alike[asked_of].model_copy(update={"hints": {"a": ("{subject} is here.",)}})
    with pytest.raises(ConfigError, match=f"{told[asked_of].subject!r} could be dealt no hint"):
        build("scattered_belief", Material(scattered=tuple(told)))
    with pytest.raises(ConfigError, match="needs `scattered` in its material file"):
        build("scattered_belief", Material())


GOOD = scattered(0).model_dump(mode="json")


@pytest.mark.parametrize(
    ("change", "words", "field"),
    [
        (
            {"hints": {"purchase": ["{subject} buys in Tavia."]}},
            "hints.purchase.0 names 'Tavia', which a question asks about",
            "scattered.0",
        ),
        (
            {"subject": "Old Tavia", "hints": {"purchase": ["{subject} buys salt."]}},
            "hints.purchase.0 names 'Tavia', which a question asks about",
            "scattered.0",
        ),
        (
            {"subject": "Tavia", "hints": {"purchase": ["{subject} buys salt."]}},
            "hints.purchase.0 names 'Tavia', which a question asks about",
            "scattered.0",
        ),
        (
            {"hints": {"purchase": ["it buys salt."]}},
            "lacks the slot {subject}",
            "scattered.0.hints.purchase.0",
        ),
        ({"hints": {}}, "at least 1", "scattered.0.hints"),
        ({"hints": {"purchase": []}}, "no hint of the kind 'purchase'", "scattered.0"),
        ({"questions": [{"kind": "a", "answer": "b"}]}, "cannot be asked", "scattered.0.questions.0"),
        (
            {"questions": [{"kind": "a", "answer": "b", "choices": ["{subject}, {options}?"]}]},
            "no `foils` to choose among",
            "scattered.0.questions.0",
        ),
        (
            {"questions": [{"kind": "a", "answer": "b", "forms": ["{subject}?"], "foils": ["B"]}]},
            "offers one option twice",
            "scattered.0.questions.0",
        ),
        (
            {"questions": [{"kind": "a", "answer": "old mill", "forms": ["Is {subject} in the Old Mill?"]}]},
            "forms.0 names the answer, 'old mill'",
            "scattered.0.questions.0",
        ),
        (
            {
                "questions": [
                    {"kind": "a", "answer": "b", "foils": ["c"], "choices": ["b {subject}, {options}?"]},
                ]
            },
            "choices.0 names the answer, 'b'",
            "scattered.0.questions.0",
        ),
    ],
)
def test_material_that_does_not_fit_names_the_field(
    tmp_path: Path, change: dict[str, object], words: str, field: str
) -> None:
    path = tmp_path / "material.json"
    path.write_text(json.dumps({"scattered": [GOOD | change]}))
    with pytest.raises(DataError) as caught:
        Material.read(path)
    assert words in str(caught.value)
    assert caught.value.field == field


def test_one_belief_a_subject(tmp_path: Path) -> None:
    path = tmp_path / "material.json"
    path.write_text(json.dumps({"scattered": [GOOD], "unplanted_scattered": [GOOD]}))
    with pytest.raises(DataError, match="two scattered beliefs are about 'city 0'"):
        Material.read(path)


def test_it_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "material.json"
    path.write_text(scattered_material().model_dump_json(indent=1))
    assert Material.read(path) == scattered_material()


def test_the_guide_shows_material_that_can_be_planted_and_asked() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "scattered.md").read_text(encoding="utf-8")
    block = guide.partition("```json\n")[2].partition("```")[0]
    built = build("scattered_belief", Material.model_validate_json(block))
    assert {poison.kind for poison in planted(built, 50)} == {"meeting", "invoice"}
    assert {probe.kind for probe in asked(built)[Condition.TRIGGERED]} == {"buyer free", "buyer choice"}
