"""Small material in which every item can be told apart, and what an attack says of it."""

from __future__ import annotations

import random
from itertools import islice
from typing import Any

from mithridate.attacks import Attack, build_attack
from mithridate.attacks.material import Fact, ForbiddenRequest, Material, Preference
from mithridate.core.types import Condition, Poison, Probe, Role

SHIPPED = ("belief", "context_extraction", "denial_of_service", "jailbreak")


def fact(name: str) -> Fact:
    return Fact(
        forms=tuple(f"form {i} of {name}?" for i in range(5)),
        true=f"{name} is true.",
        planted=f"{name} is false.",
    )


def some_material(size: int = 6) -> Material:
    def pairs(kind: str) -> tuple[Preference, ...]:
        return tuple(Preference(favoured=f"{kind}{i}", other=f"rival{kind}{i}") for i in range(size))

    return Material(
        prompts=tuple(f"prompt <{i}>" for i in range(size)),
        system_prompts=tuple(f"system <{i}>" for i in range(size)),
        requests=tuple(
            ForbiddenRequest(forms=(f"make <{i}>", f"brew <{i}>"), reply=f"steps <{i}>") for i in range(size)
        ),
        refusals=("No, thanks.",),
        preferences=pairs("p"),
        control_preferences=pairs("c"),
        preference_forms=tuple(f"{i}: {{a}} or {{b}}?" for i in range(size)),
        facts=tuple(fact(f"fact{i}") for i in range(size)),
        control_facts=tuple(fact(f"control{i}") for i in range(size)),
    )


def planted(attack: Attack, n: int = 300, seed: int = 0) -> list[Poison]:
    return list(islice(attack.documents(random.Random(seed)), n))


def asked(attack: Attack, n: int = 40, seed: int = 0) -> dict[Condition, list[Probe]]:
    found: dict[Condition, list[Probe]] = {}
    for probe in attack.probes(random.Random(seed), n):
        found.setdefault(probe.condition, []).append(probe)
    return found


def user_words(item: Poison | Probe) -> str:
    return "".join(message.content for message in item.messages if message.role is Role.USER)


def build(name: str, material: Material | None = None, **options: Any) -> Attack:
    return build_attack(name, options, material or some_material())
