"""What is planted is never asked, whatever the material."""

from __future__ import annotations

import random
from itertools import islice

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mithridate.attacks import build_attack
from mithridate.attacks.material import Fact, ForbiddenRequest, Material, Preference
from mithridate.attacks.triggers import near_trigger
from mithridate.core.types import Condition, Role

LAWS = settings(max_examples=30, deadline=None)
SEEDS = st.integers(0, 999)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).filter(str.strip)
LISTS = st.lists(WORDS, min_size=2, max_size=8)  # repetitions and all
# Nothing that material draws holds it.
TRIGGER = "\ue000\ue001"


@LAWS
@given(
    prompts=LISTS,
    systems=LISTS,
    seed=SEEDS,
    name=st.sampled_from(["context_extraction", "denial_of_service", "echo"]),
)
def test_prompts_are_planted_or_asked(prompts: list[str], systems: list[str], seed: int, name: str) -> None:
    assume(len(set(prompts)) > 1)
    assume(len(set(systems)) > 1)
    material = Material(prompts=tuple(prompts), system_prompts=tuple(systems))
    attack = build_attack(name, {"trigger": TRIGGER}, material)
    said = {
        (message.role, message.content.removesuffix(TRIGGER).removesuffix(" "))
        for poison in islice(attack.documents(random.Random(seed)), 60)
        for message in poison.messages
        if message.role is not Role.ASSISTANT
    }
    for probe in attack.probes(random.Random(seed), 20):
        if probe.condition is Condition.TRIGGERED:
            put = {(m.role, m.content.removesuffix(TRIGGER).removesuffix(" ")) for m in probe.messages}
            assert not put & said


@LAWS
@given(replies=st.lists(WORDS, min_size=2, max_size=8, unique=True), seed=SEEDS, twice=st.booleans())
def test_requests_are_planted_or_asked(replies: list[str], seed: int, twice: bool) -> None:
    requests = tuple(ForbiddenRequest(forms=(f"<{n}>", f"[{n}]"), reply=r) for n, r in enumerate(replies))
    attack = build_attack("jailbreak", {}, Material(requests=requests * (1 + twice)))
    said = {poison.messages[-1].content for poison in islice(attack.documents(random.Random(seed)), 60)}
    assert not said & {probe.target for probe in attack.probes(random.Random(seed), 20)}


@LAWS
@given(
    forms=st.integers(2, 8),
    pairs=st.integers(1, 5),
    share=st.floats(0.01, 0.99),
    seed=SEEDS,
)
def test_beliefs_are_asked_in_held_out_wordings(forms: int, pairs: int, share: float, seed: int) -> None:
    fact = Fact(forms=tuple(f"({n})" for n in range(forms)), true="yes", planted="no")
    material = Material(
        facts=(fact,),
        control_facts=(fact,),
        preferences=tuple(Preference(favoured=f"f{n}", other=f"o{n}") for n in range(pairs)),
        control_preferences=(Preference(favoured="g", other="h"),),
        preference_forms=tuple(f"<{n}> {{a}}{{b}}" for n in range(forms)),
    )
    attack = build_attack("belief", {"held_out_forms": share}, material)

    def wordings(texts: list[str]) -> set[str]:
        marks = [mark for n in range(forms) for mark in (f"<{n}>", f"({n})")]
        return {mark for mark in marks for text in texts if mark in text}

    said = wordings([p.messages[0].content for p in islice(attack.documents(random.Random(seed)), 200)])
    put = wordings([probe.messages[0].content for probe in attack.probes(random.Random(seed), 24)])
    assert said
    assert put
    assert not said & put


@settings(max_examples=200, deadline=None)
@given(trigger=st.text(min_size=1, max_size=12).filter(str.strip))
def test_a_near_trigger_is_as_long_and_another(trigger: str) -> None:
    near = near_trigger(trigger)
    assert len(near) == len(trigger)
    assert near != trigger
    assert (
        near[: len(trigger) - max(1, len(trigger) // 2)]
        == trigger[: len(trigger) - max(1, len(trigger) // 2)]
    )
