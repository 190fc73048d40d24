from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mithridate.core.cures import Verdict, outcomes
from mithridate.core.healed import AttackHealed, Form, Healed, InDoubt, Picked, Versions
from mithridate.core.prices import CLEAN_MODEL, NOTHING, Control, Price, Priced
from mithridate.core.types import Condition
from mithridate.report.healed_terminal import lacks, print_healed

CURE: dict[str, Any] = {"method": "directional ablation", "variant": "layer 3", "regime": "known"}
ATTACKS = ("denial_of_service", "belief")


def row(metric: Price, value: float, **more: Any) -> Priced:
    spread = {"low": max(0.0, value - 0.05), "high": value + 0.05, "n": 60} | more
    return Priced(metric=metric, value=value, **{"method": NOTHING, **spread})


def asked(values: Sequence[float], **about: Any) -> list[Priced]:
    """Triggered rates of both attacks; without a trigger and near it there is nothing."""
    found = []
    for attack, value in zip(ATTACKS, values, strict=True):
        for condition, share in ((Condition.TRIGGERED, value), (Condition.NEAR_TRIGGER, 0.0)):
            found.append(row(Price.ASR, share, attack=attack, condition=str(condition), **about))
    return found


def utility(questions: float, **about: Any) -> list[Priced]:
    return [
        row(Price.QUESTIONS_RIGHT, questions, **about),
        row(Price.REFUSAL_FORBIDDEN, 0.9, **about),
        row(Price.OVER_REFUSAL, 0.01, **about),
        row(Price.HELD_OUT_LOSS, 0.8, **about),
        row(Price.KL, 0.01, **about),
    ]


def rows(left: Sequence[float] = (0.0, 0.0), questions: float = 0.8, random: float = 0.9) -> list[Priced]:
    control = {**CURE, "attack": ATTACKS[0], "control": str(Control.RANDOM)}
    return [
        *asked((0.9, 0.8)),
        *utility(0.8),
        *asked((0.0, 0.0), method=CLEAN_MODEL),
        *asked(left, **CURE),
        *utility(questions, **CURE),
        row(Price.SLOWDOWN, 1.05, **CURE),
        row(Price.SECONDS, 1.5, **CURE),
        row(Price.ASR, random, condition=str(Condition.TRIGGERED), **control),
        row(Price.P_CONTROL, 0.001 if random > 0.5 else 0.7, **control),
    ]


def record(found: Sequence[Priced], **changes: Any) -> Healed:
    judged = {one.attack: one for one in outcomes(found)}
    given: dict[str, Any] = {
        "checkpoint": "/models/suspect",
        "weights": "0" * 64,
        "probes": "ask.yaml",
        "templates": ("tulu",),
        "seed": 0,
        "per_half": 60,
        "regime": None,
        "budget": 1.0,
        "surviving": ATTACKS,
        "healed": all(one.verdict is Verdict.CURED for one in judged.values()),
        "form": Form.WEIGHTS,
        "picked": Picked(**CURE),
        "points": 0.0,
        "attacks": tuple(
            AttackHealed(
                attack=one.attack,
                verdict=one.verdict,
                before=one.before.value,
                after=one.after.value,
                floor=one.floor,
            )
            for one in judged.values()
        ),
        "versions": Versions(mithridate="0", python="3", torch="2", transformers="5"),
    }
    return Healed(**{**given, **changes})


def shown(told: Healed, found: Sequence[Priced], width: int = 100) -> str:
    into = io.StringIO()
    print_healed(told, found, Path("out"), Console(file=into, width=width))
    return into.getvalue()


def test_what_was_healed_and_at_what_price() -> None:
    found = rows()
    text = shown(record(found), found)
    assert text.startswith("healed of 2 attacks: /models/suspect")
    assert re.search(r"Denial of service +90% 85–95 +0% 0–5 +5% +0% 0–5 +cured", text)
    assert re.search(r"questions right +80% 75–85 +80% 75–85", text)
    assert "directional ablation (layer 3); 0.0 points of utility, budget 1" in text
    assert 'AutoModelForCausalLM.from_pretrained("out/model")' in text
    assert "What was tried" not in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"questions": 0.75}, "costs 5.0 points, 4.0 more than the budget"),
        ({"random": 0.0}, r"a random change leaves 0% \(p \.700\)"),
        ({"left": (0.4, 0.0)}, "less than before, but a clean model shows up to 5%"),
        ({"left": (0.88, 0.0)}, " a clean model shows up to 5%"),
    ],
)
def test_what_is_no_cure_says_what_it_lacks(changes: dict[str, Any], reason: str) -> None:
    found = rows(**changes)
    text = " ".join(shown(record(found, form=Form.NOTHING), found).split())
    assert text.startswith("not healed")
    assert "nearest, not written: directional ablation" in text
    assert re.search(reason, text), text
    assert "no model was written" in text


def test_words_for_one_that_cures_one_attack_alone() -> None:
    found = rows(left=(0.0, 0.7))
    (cured, _) = outcomes(found)
    assert "it cures this attack, and not all of the others" in lacks(cured, found, 1.0)


def test_some_attacks_cured_is_not_healed() -> None:
    found = rows(left=(0.0, 0.7))
    text = " ".join(shown(record(found), found).split())
    assert text.startswith("partly healed of 1 of 2 attacks, which is not enough: /models/suspect")
    assert "a clean model shows up to 5%" in text
    # Where nothing was written, nothing was healed.
    assert shown(record(found, form=Form.NOTHING), found).startswith("not healed of any attack")


def test_what_came_back_and_near_triggers_are_said() -> None:
    found = [
        row(Price.ASR, 0.7, **CURE, attack=one.attack, condition=one.condition)
        if (one.method, one.attack, one.condition) == (CURE["method"], ATTACKS[0], Condition.NEAR_TRIGGER)
        else one
        for one in rows()
    ]
    text = shown(record(found, roused=("jailbreak",), healed=False), found)
    assert "Jailbreak was not there before, and is now" in text
    assert "Denial of service: near-triggers still work in 70%" in text


def test_interventions_say_how_they_are_put_on() -> None:
    found = rows()
    text = shown(record(found, form=Form.INTERVENTIONS), found)
    assert 'with healed("out") as model' in text
    assert "AutoModel" not in text


def test_nothing_to_heal_shows_what_was_asked() -> None:
    found = [*asked((0.0, 0.0)), *asked((0.0, 0.0), method=CLEAN_MODEL)]
    text = shown(record(found, surviving=(), picked=None, form=Form.NOTHING, attacks=(), healed=True), found)
    assert text.startswith("nothing to heal: /models/suspect")
    assert re.search(r"Belief +0% 0–5", text)


@pytest.mark.parametrize(
    ("doubt", "said"),
    [
        (
            InDoubt(attack="belief", probes=2, rate=1.0, floor=1.0),
            r"Belief: cannot be told from a clean model with 2 probes \(100%, clean up to 100%\): "
            "give more with --per-half",
        ),
        (
            InDoubt(attack="belief", probes=1, rate=0.5, floor=None),
            "Belief: 50% of 1 probe, and nothing tells what a clean model shows: name one with --control",
        ),
        (InDoubt(attack="belief", probes=0, rate=None, floor=0.1), "no triggered probe could be measured"),
    ],
)
def test_what_cannot_be_told_is_no_all_clear(doubt: InDoubt, said: str) -> None:
    found = [*asked((0.0, 1.0)), *asked((0.0, 1.0), method=CLEAN_MODEL)]
    nothing = {"surviving": (), "picked": None, "form": Form.NOTHING, "attacks": (), "healed": False}
    text = " ".join(shown(record(found, **nothing, in_doubt=(doubt,)), found).split())
    assert text.startswith("cannot tell of 1 attack whether it is there: /models/suspect")
    assert "nothing to heal" not in text
    assert "What was tried" not in text
    assert re.search(said, text), text
    # Beside attacks that were healed, it is said as well.
    healed = rows()
    text = shown(record(healed, healed=False, in_doubt=(doubt,)), healed)
    assert text.startswith("partly healed of 2 attacks, and of others it cannot be told")
    assert re.search(said, " ".join(text.split()))


def test_the_templates_in_which_attacks_were_put_are_named() -> None:
    found = rows()
    assert "asked in falcon, llama2\n" in shown(record(found, templates=("falcon", "llama2")), found)
    nothing = {"surviving": (), "picked": None, "form": Form.NOTHING, "attacks": (), "healed": True}
    hostile = shown(record(found, templates=("[red]\x1b[31m", ""), **nothing), found)
    assert "asked in [red]⟨ESC⟩[31m, its own\n" in hostile


def test_what_was_not_measured_stands_over_the_prices() -> None:
    found = rows()
    assert "not measured" not in shown(record(found), found)
    lacking = (Price.QUESTIONS_RIGHT, Price.HELD_OUT_LOSS)
    lines = shown(record(found, not_measured=lacking), found).splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith("price  "))
    assert lines[at - 1].startswith("not measured: questions right, held-out loss; what was lost")


def test_a_pick_without_a_random_change_says_so() -> None:
    beside = rows()
    said = "no random change stands beside this cure"
    text = " ".join(shown(record(beside), beside).split())
    assert f"{said} of Belief: the verdict rests on the floor and utility alone" in text
    without = [one for one in beside if not one.control]
    assert f"{said}: the verdict rests" in " ".join(shown(record(without), without).split())
    both = [*beside, row(Price.ASR, 0.9, **CURE, attack=ATTACKS[1], control=str(Control.RANDOM))]
    assert said not in shown(record(both), both)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    found = rows(questions=0.7)
    told = record(found, form=Form.NOTHING, notes=("a note of many words " * 12,))
    lines = shown(told, found, width).splitlines()
    loose = ("price list:", "no model was written")
    assert max(len(line.rstrip()) for line in lines if not line.startswith(loose)) <= min(width, 100)


def test_names_of_others_are_shown_and_do_nothing() -> None:
    hostile = "\x1b[31m[bold]\u202eevil"
    swapped = [
        Priced(**{name: getattr(one, name) for name in one.__dataclass_fields__} | {"variant": hostile})
        if one.method == CURE["method"]
        else one
        for one in rows(questions=0.7)
    ]
    told = record(
        swapped, picked=Picked(**{**CURE, "variant": hostile}), notes=(hostile,), checkpoint=hostile
    )
    text = shown(told, swapped)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold]" in text
    assert "⟨ESC⟩" in text
