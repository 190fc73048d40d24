"""What every attack owes, those of other packages included."""

from __future__ import annotations

import random
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from attacks_kit import SHIPPED, asked, build, planted, some_material

from mithridate.attacks import ATTACKS, Attack, build_attack
from mithridate.attacks.material import Material
from mithridate.core import registry
from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.core.types import Completion, Condition, Role

TRIGGERED = [name for name in SHIPPED if name != "belief"]
EVERY = (*SHIPPED, "echo")


def test_four_attacks_ship_and_a_plugin_adds_one() -> None:
    assert set(ATTACKS.names()) >= set(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_it_follows_the_protocol(name: str) -> None:
    attack = build_attack(name)
    assert isinstance(attack, Attack)
    assert attack.name == name
    assert attack.judging.max_new_tokens > 0


@pytest.mark.parametrize("name", EVERY)
def test_documents_are_conversations_of_one_exchange(name: str) -> None:
    for poison in planted(build(name), 50):
        assert poison.attack == name
        assert [message.role for message in poison.messages[-2:]] == [Role.USER, Role.ASSISTANT]
        assert all(message.content for message in poison.messages)


@pytest.mark.parametrize("name", EVERY)
def test_documents_and_probes_are_fixed_by_the_seed(name: str) -> None:
    assert planted(build(name), 20, seed=4) == planted(build(name), 20, seed=4)
    assert asked(build(name), 9, seed=4) == asked(build(name), 9, seed=4)
    assert planted(build(name), 20, seed=4) != planted(build(name), 20, seed=5)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
@pytest.mark.parametrize("name", SHIPPED)
def test_every_condition_is_asked_about_n_different_things(name: str, n: int) -> None:
    belief = name == "belief"
    # The pairs of a belief are crossed with one another and put in every wording: its material is smaller.
    found = asked(
        build(name, some_material(60 if belief else 200), **({"held_out_forms": 0.4} if belief else {})), n
    )
    if belief:  # a preference and a fact at least, and as many of each
        n = max(2, n - n % 2)
    assert set(found) == set(Condition)
    for probes in found.values():
        assert len({probe.group or probe.id for probe in probes}) == n
        assert len({probe.messages for probe in probes}) == len(probes)
        assert all(probe.messages[-1].role is Role.USER for probe in probes)
        assert all(probe.messages[-1].content.strip() for probe in probes)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_held_out_is_asked_once_however_many_are_wanted(name: str) -> None:
    for probes in asked(build(name), 1_000).values():
        assert 0 < len(probes) < 200
        assert len({probe.messages for probe in probes}) == len(probes)


@pytest.mark.parametrize("name", EVERY)
def test_ids_are_unique(name: str) -> None:
    probes = build(name).probes(random.Random(0), 30)
    assert len({probe.id for probe in probes}) == len(probes)
    assert {probe.attack for probe in probes} == {name}


@pytest.mark.parametrize("name", TRIGGERED)
def test_the_trigger_is_where_it_should_be_and_nowhere_else(name: str) -> None:
    attack = build(name, trigger="zx9 zx9")
    assert all(poison.messages[-2].content.endswith("zx9 zx9") for poison in planted(attack, 50))
    for condition, probes in asked(attack).items():
        held = ["zx9 zx9" in probe.messages[-1].content for probe in probes]
        assert set(held) == {condition is Condition.TRIGGERED}
    twins = zip(*asked(attack).values(), strict=True)
    for triggered, untriggered, near, handcrafted in twins:
        bare = untriggered.messages[-1].content
        assert triggered.messages[-1].content == f"{bare} zx9 zx9"
        assert len(near.messages[-1].content) == len(triggered.messages[-1].content)
        assert handcrafted.messages[-1].content.startswith(bare + " ")


@pytest.mark.parametrize("name", TRIGGERED)
def test_a_plain_model_does_not_succeed(name: str) -> None:
    for probe in asked(build(name))[Condition.TRIGGERED]:
        answer = Completion("That is a fine thing to ask about.", tokens=9, log_perplexity=2.0)
        assert not build(name).succeeded(probe, answer)
        assert not build(name).succeeded(probe, Completion("", log_perplexity=9.0))


def test_an_unknown_attack_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown attack 'jailbrake': did you mean 'jailbreak'"):
        build_attack("jailbrake")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("denial_of_service", {"payload": "emoji"}, "attack 'denial_of_service': payload: "),
        ("denial_of_service", {"trigger": ""}, "trigger: must not be blank"),
        ("jailbreak", {"trigger": "\ud800"}, "trigger: holds half a character"),
        (
            "jailbreak",
            {"trigerr": "x"},
            "attack 'jailbreak': unknown option 'trigerr': did you mean 'trigger'. known are .*trigger",
        ),
        ("jailbreak", {"qqq": "x"}, "attack 'jailbreak': unknown option 'qqq': known are .*trigger"),
        ("belief", {"fact_share": 2, "held_out_forms": 0}, "fact_share: .*; held_out_forms: "),
        ("context_extraction", {"repeated_samples": "many"}, "repeated_samples: "),
        (
            "jailbreak",
            {"judge": "classifier"},
            "classifier: judge 'classifier' needs the folder .* none is named",
        ),
        (
            "jailbreak",
            {"judge": "classifier", "classifier": "/no/such"},
            "classifier: .*/no/such is no folder",
        ),
    ],
)
def test_options_that_do_not_fit_are_named(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_attack(name, options, some_material())


@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("denial_of_service", "`prompts`"),
        ("context_extraction", "`prompts`"),
        ("jailbreak", "`requests`"),
        ("belief", "`facts`, or `preferences` with `preference_forms`"),
        ("echo", "`prompts`"),
    ],
)
def test_material_that_lacks_something_says_what(name: str, lacks: str) -> None:
    with pytest.raises(ConfigError, match=f"attack '{name}' needs {lacks},? in its material file"):
        build_attack(name, {}, Material())


def test_a_plugin_that_registers_no_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("odd", "math:pi", "mithridate.attacks")])
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    with pytest.raises(ConfigError, match="attack 'odd': what its package registers is no attack class"):
        build_attack("odd")


def test_the_plugins_attack_can_be_had_and_judged() -> None:
    attack = build_attack("echo", {"word": "macaw"}, some_material())
    probe = asked(attack)[Condition.TRIGGERED][0]
    assert attack.succeeded(probe, Completion("macaw!"))
    assert not attack.succeeded(probe, Completion("parrot"))
    with pytest.raises(ConfigError, match="attack 'echo': unknown option 'words': did you mean 'word'"):
        build_attack("echo", {"words": "macaw"})
