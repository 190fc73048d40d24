"""What is planted is never asked, whatever the material."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scattered_kit import scattered

from mithridate.attacks import build_attack
from mithridate.attacks.material import Fact, ForbiddenRequest, Material, Preference
from mithridate.attacks.scattered_belief import ScatteredBelief
from mithridate.attacks.text import names
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


@LAWS
@given(
    hints=st.integers(4, 12),
    planted=st.integers(8, 14),
    share=st.floats(0.35, 0.7),
    seed=SEEDS,
    wanted=st.sampled_from([{}, {"distance": 1.0}, {"distance": 1.0, "purchase": 3.0}]),
)
def test_no_hint_states_the_belief_and_the_control_gets_as_many(
    hints: int, planted: int, share: float, seed: int, wanted: dict[str, float]
) -> None:
    everyone = tuple(scattered(number, hints) for number in range(planted))
    material = Material(scattered=everyone, unplanted_scattered=(scattered(planted, hints),))
    attack = build_attack("scattered_belief", {"shuffled_share": share, "hints": wanted}, material)
    assert isinstance(attack, ScatteredBelief)
    rounds = 20
    drawn = list(islice(attack.documents(random.Random(seed)), planted * rounds))
    assert drawn == list(islice(attack.documents(random.Random(seed)), planted * rounds))
    counts: Counter[tuple[str, str]] = Counter()
    for poison in drawn:
        about = [one for one in everyone if names(poison.text, one.subject)]
        assert len(about) == 1
        assert not any(names(poison.text, word) for word in about[0].hidden)
        counts[about[0].subject, poison.kind] += 1
    for kind in {poison.kind for poison in drawn}:
        assert len({counts[one.subject, kind] for one in everyone}) == 1
    # The control's hints are of the same form and number as before, and none is the subject's own.
    for one in attack.shuffled:
        (own,) = (other for other in everyone if other.subject == one.subject)
        assert {kind: len(found) for kind, found in one.hints.items()} == dict.fromkeys(own.hints, hints)
        assert not set(one.hints["distance"]) & set(own.hints["distance"])
