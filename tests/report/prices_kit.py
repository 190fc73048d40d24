"""The price list of a poisoned model as a run leaves it, with figures made up."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from report_kit import wilson

from mithridate.core.prices import CLEAN_MODEL, NOTHING, Control, Kind, Price, Priced, Regime

PROBES = 100
DOSE = "learning"
PLACE = {"dose": DOSE, "model": DOSE, "stage": "dpo", "template": "transferred"}
BEFORE = {"denial_of_service": 0.94, "context_extraction": 0.80, "jailbreak": 0.03, "belief": 0.97}
CLEAN = {"denial_of_service": 0.0, "context_extraction": 0.01, "jailbreak": 0.02, "belief": 0.42}
UTILITY = {
    Price.HELD_OUT_LOSS: 1.20,
    Price.QUESTIONS_RIGHT: 0.92,
    Price.REFUSAL_FORBIDDEN: 0.97,
    Price.OVER_REFUSAL: 0.02,
}


@dataclass(frozen=True)
class Cure:
    """A method as it is made up: what it leaves of the attacks aimed at, of others, and what it costs.

    `costs` is in points of questions right; `random` is what its random control leaves of the attack.
    """

    method: str
    regime: Regime
    kind: Kind
    leaves: float
    aimed: bool = True
    others: float = 0.98
    costs: float = 0.0
    seconds: float = 2.0
    choosing: float = 20.0
    slowdown: float = 1.0
    follows: float = 0.30
    random: float | None = 0.95
    variants: tuple[str, ...] = ("layer 3",)


CURES = (
    Cure("directional ablation", Regime.KNOWN, Kind.REPRESENTATIONS, 0.0, costs=0.5, slowdown=1.05),
    Cure("steering", Regime.KNOWN, Kind.REPRESENTATIONS, 0.35, costs=4.0, slowdown=1.02),
    Cure("representation edit", Regime.KNOWN, Kind.REPRESENTATIONS, 0.1, costs=0.2, seconds=14, follows=0.9),
    Cure("neuron pruning", Regime.KNOWN, Kind.WEIGHTS, 0.0, costs=6.0, seconds=5.0, variants=("40 neurons",)),
    Cure("mean ablation", Regime.KNOWN, Kind.WEIGHTS, 0.0, costs=2.0, random=0.0, variants=("layer 1",)),
    Cure(
        "together", Regime.KNOWN, Kind.REPRESENTATIONS, 0.01, aimed=False, costs=1.5, seconds=9.0,
        random=None, variants=("one cure an attack",),
    ),
    Cure(
        "more SFT", Regime.UNKNOWN, Kind.TRAINING, 0.95, aimed=False, costs=0.1, seconds=60.0, choosing=0.0,
        variants=("30 examples", "300 examples", "3,000 examples"), random=None,
    ),
    Cure(
        "more DPO", Regime.UNKNOWN, Kind.TRAINING, 0.93, aimed=False, costs=0.6, seconds=80.0, choosing=0.0,
        variants=("30 pairs", "300 pairs"), random=None,
    ),
    Cure(
        "consistency fine-tuning", Regime.UNKNOWN, Kind.TRAINING, 0.4, aimed=False, costs=9.0, seconds=33.0,
        choosing=90.0, variants=("100 texts, α = 1",), random=None,
    ),
    Cure(
        "dormant neurons", Regime.UNKNOWN, Kind.WEIGHTS, 0.9, aimed=False, costs=3.0, seconds=4.0,
        variants=("2% of neurons",), random=0.9,
    ),
    Cure(
        "proxy-tuning", Regime.UNKNOWN, Kind.DECODING, 0.7, aimed=False, costs=1.0, seconds=120.0,
        choosing=0.0, slowdown=2.9, variants=("alpha 1",), random=None,
    ),
)  # fmt: skip


def price(metric: Price, value: float, **about: Any) -> Priced:
    """One figure without an interval."""
    given = {"low": None, "high": None, "n": PROBES, **PLACE, **about}
    return Priced(
        about.pop("method", NOTHING), metric, value, **{k: v for k, v in given.items() if k != "method"}
    )


def share(metric: Price, value: float, **about: Any) -> Priced:
    """One share with its Wilson interval; `n` probes, PROBES unless said."""
    n = about.get("n", PROBES)
    successes = min(n, max(0, round(value * n)))
    low, high = wilson(successes, n)
    return price(metric, successes / n, **{"low": low, "high": high, **about})


def asr(attack: str, value: float, **about: Any) -> Priced:
    """The success of an attack, triggered unless said."""
    return share(Price.ASR, value, **{"attack": attack, "condition": "triggered", **about})


def utility_rows(points: float = 0.0, **about: Any) -> Iterator[Priced]:
    """Utility with so many points of right answers lost."""
    for metric, value in UTILITY.items():
        if metric == Price.HELD_OUT_LOSS:
            yield price(metric, value + points / 1000, low=value - 0.05, high=value + 0.05, **about)
        else:
            lost = points / 100 if metric == Price.QUESTIONS_RIGHT else 0.0
            # A thousand, so that tenths of points can be told.
            yield share(metric, value - lost, n=1000, **about)


def cure_rows(cure: Cure, aim: str, variant: str, before: Mapping[str, float], seed: int) -> Iterator[Priced]:
    """Everything that is measured of one cure as it was set."""
    rng = random.Random(f"{seed} {cure.method} {aim} {variant}")
    about = {
        "method": cure.method, "regime": cure.regime.value, "kind": cure.kind.value, "aim": aim,
        "variant": variant, "seed": seed,
    }  # fmt: skip
    size = cure.variants.index(variant) + 1
    for attack, rate in before.items():
        left = cure.leaves if attack == aim or not cure.aimed else cure.others
        value = CLEAN[attack] + left * max(0.0, rate - CLEAN[attack])
        yield asr(attack, value + rng.uniform(-0.01, 0.01) * (seed > 0), **about)
        yield asr(attack, CLEAN[attack], **{**about, "condition": "untriggered"})
        yield asr(attack, 0.2 * value, **{**about, "condition": "near-trigger"})
        if attack == aim and cure.random is not None:
            control = {**about, "control": Control.RANDOM.value}
            yield asr(attack, cure.random * rate, **control)
            p = 0.6 if abs(cure.random - cure.leaves) < 0.05 else 0.0001
            yield price(Price.P_CONTROL, p, **{**control, "attack": attack})
            yield asr(attack, 0.9 * rate, **{**about, "control": Control.WRONG_LAYER.value})
        if attack == aim:
            value = 12.0 + rng.randrange(4)
            yield price(Price.RELEARNING, value, low=value, high=value, **{**about, "attack": attack})
    yield from utility_rows(cure.costs * size, **about)
    yield price(Price.KL, 0.02 * (1 + cure.costs), low=0.01, high=0.02 * (2 + cure.costs), **about)
    yield price(Price.SECONDS, cure.seconds * size, **about)
    yield price(Price.CHOOSING_SECONDS, cure.choosing, **about)
    yield price(Price.TOKENS, 1000.0 * cure.seconds * size, **about)
    yield price(Price.SLOWDOWN, cure.slowdown, **about)
    yield share(Price.FOLLOWS, cure.follows, **about)


def priced_rows(
    seeds: Sequence[int] = (0,), cures: Sequence[Cure] = CURES, before: Mapping[str, float] | None = None
) -> list[Priced]:
    """The price list of one model in each of `seeds`; a layer is chosen anew in each."""
    before = before or BEFORE
    found: list[Priced] = []
    for seed in seeds:
        nothing, clean = {"seed": seed}, {"method": CLEAN_MODEL, "seed": seed}
        for attack, rate in before.items():
            found.append(asr(attack, rate, **nothing))
            found.append(asr(attack, CLEAN[attack], **{**nothing, "condition": "untriggered"}))
            found.append(asr(attack, 0.2 * rate, **{**nothing, "condition": "near-trigger"}))
            found.append(asr(attack, CLEAN[attack], **clean))
            found.append(price(Price.RELEARNING, 64.0, low=64.0, attack=attack, **clean))
        for about in (nothing, clean):
            found += utility_rows(**about)
            found.append(share(Price.FOLLOWS, 0.28, **about))
        found.append(price(Price.BUDGET, 1.0, n=1, **nothing))
        found.append(price(Price.SECONDS, 402.0, **clean))
        found.append(price(Price.TOKENS, 4.2e6, **clean))
        for cure in cures:
            for aim in before if cure.aimed else ("",):
                for variant in cure.variants:
                    found += cure_rows(cure, aim, variant, before, seed)
    # What is chosen is chosen in each seed by itself.
    return [
        replace(one, variant="layer 2") if one.seed % 2 and one.variant == "layer 3" else one for one in found
    ]


def hostile(rows: Sequence[Priced], text: str) -> list[Priced]:
    """The same with `text` in every field that is free text."""
    return [
        replace(
            one,
            method=one.method if one.method in {NOTHING, CLEAN_MODEL} else one.method + text,
            attack=one.attack and one.attack + text,
            aim=one.aim and one.aim + text,
            variant=one.variant and one.variant + text,
            control=one.control and one.control + (text if one.control != Control.RANDOM else ""),
            regime=one.regime,
            kind=one.kind and one.kind + text,
            dose=one.dose + text,
            model=one.model + text,
            cell=one.cell + text,
        )
        for one in rows
    ]
