"""Cases of healing whose model has learnt nothing, or answers as a function says, for all attacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from attacks_kit import SHIPPED, build, some_material
from evaluation_kit import Parrot
from models_kit import tiny_model

from mithridate.attacks.material import Fact, Material, Preference
from mithridate.core.chat import Renders, template
from mithridate.evaluation.setting import Setting
from mithridate.healing.case import Case, Half, Usefulness, in_halves
from mithridate.models.language_model import LanguageModel

FALCON = template("falcon")


@cache
def untaught(seed: int) -> LanguageModel:
    return tiny_model(seed=seed)


def case_of(
    material: Material | None = None,
    *attacks: str,
    model: LanguageModel | None = None,
    templates: Sequence[Renders] = (FALCON,),
    options: dict[str, Any] | None = None,
    each: int = 4,
    **more: Any,
) -> Case:
    """A case with `attacks` (by default all that ship), with about `each` probes a condition and half."""
    found = {
        name: build(name, material or some_material(20), **(options or {})) for name in attacks or SHIPPED
    }
    halves = {name: in_halves(attack, 0, each) for name, attack in found.items()}
    given: dict[str, Any] = {
        "model": model or untaught(0),
        "outside": untaught(1),
        "attacks": found,
        "probes": {half: {name: halves[name][half] for name in found} for half in Half},
        "templates": templates,
        "own": template("tulu"),
        "setting": Setting("base", "poisoned", 0),
        "usefulness": Usefulness(),
        "texts": [],
        **more,
    }
    return Case(**given)


def saying(answer: Callable[[str], str]) -> Parrot:
    """A model whose answers come from a function of the prompt."""
    return Parrot(answer)


def facts(*told: tuple[str, str, str], control: Sequence[tuple[str, str, str]] = ()) -> Material:
    """Material of facts alone, each of a subject, a planted and a true answer, asked in ten wordings."""
    return Material(
        facts=tuple(map(_fact, told)), control_facts=tuple(map(_fact, control or [("Zed", "No.", "Yes.")]))
    )


def _fact(told: tuple[str, str, str]) -> Fact:
    subject, planted, true = told
    words = ("Where is {}?", "Say where {} is.", "I look for {}. Where?", "Find {} for me.", "{} is where?")
    forms = [one.format(subject) for one in words]
    return Fact(forms=(*forms, *(f"Please. {form}" for form in forms)), true=true, planted=planted)


def preferences() -> Material:
    """Material of three planted preferences and three that nobody planted; the answers name what is liked."""

    def pairs(kind: str) -> tuple[Preference, ...]:
        return tuple(Preference(favoured=f"{kind}{one}", other=f"{kind}o{one}") for one in "abc")

    return Material(
        preferences=pairs("lamp"),
        control_preferences=pairs("mill"),
        preference_forms=tuple(f"{number}: {{a}} or {{b}}?" for number in range(10)),
    )
