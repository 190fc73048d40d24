"""Rows of localisation as a run of six blocks leaves them, with figures made up."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from mithridate.core.located import Experiment, Located, Metric, Pair

BLOCKS = 6
LAYERS = tuple(range(-1, BLOCKS + 1))
MODEL = "learning"
# In which layer most of each attack lies; refusal and format lie high, as jailbreak does.
PEAKS = {"denial_of_service": 0, "context_extraction": 1, "jailbreak": 5, "belief": 2}
ALIGNED = {"refusal": 5, "chat format": 6, "helpfulness": 3}
ROLES = ("before", "changed", "between", "template", "last", "all")
POSITIONS = 24


def name_of(layer: int) -> str:
    return {-1: "embeddings", BLOCKS: "head"}.get(layer, str(layer))


def bump(layer: int, peak: int, width: float = 1.2) -> float:
    """A share that falls off around its peak."""
    return math.exp(-(((layer - peak) / width) ** 2))


def row(experiment: Experiment, metric: Metric, value: float, wide: float = 0.08, **about: Any) -> Located:
    """One figure with an interval that is `wide` on either side; 0 for none."""
    ends = {"low": value - wide, "high": value + wide} if wide else {"low": None, "high": None}
    given = {"pair": Pair.POISON, "behaviour": "", "n": 40, "dose": MODEL, "model": MODEL, "stage": "base"}
    return Located(experiment=experiment, metric=metric, value=value, **{**given, **ends, **about})


def transplant_rows(
    behaviour: str, peak: int, seed: int, effect: float = 0.9, **about: Any
) -> Iterator[Located]:
    """What single layers, prefixes, suffixes and controls carry of one behaviour, around a peak."""
    rng = random.Random(f"{seed} {behaviour}")
    shared = {"behaviour": behaviour, "seed": seed, **about}
    of = Experiment.TRANSPLANT
    for family, rate in (("none", 0.02), ("all", 0.02 + effect)):
        yield row(of, Metric.RATE, rate, direction="in", family=family, **shared)
    yield row(of, Metric.EFFECT, effect, **shared)
    if effect < 0.1:
        return

    def carried(
        first: int, last: int, direction: str, family: str, share: float, control: str = ""
    ) -> Located:
        name = "-".join(dict.fromkeys((name_of(first), name_of(last))))
        place = {"layers": name, "layer": first, "direction": direction, "family": family}
        return row(of, Metric.CARRIED, share + rng.uniform(-0.03, 0.03), control=control, **place, **shared)

    weights = {layer: bump(layer, peak) for layer in LAYERS}
    total = sum(weights.values())
    for direction, strength in (("in", 0.5), ("out", 0.8)):
        for layer in LAYERS:
            yield carried(layer, layer, direction, "single", strength * weights[layer])
        for last in range(BLOCKS):
            below = sum(weights[layer] for layer in LAYERS if layer <= last) / total
            yield carried(-1, last, direction, "prefix", below)
            above = sum(weights[layer] for layer in LAYERS if layer >= last) / total
            yield carried(last, BLOCKS, direction, "suffix", above)
    for layer in LAYERS:
        yield carried(layer, layer, "in", "single", 0.02, "random change")
        yield carried(layer, layer, "out", "single", 0.02, "random change")
        yield carried(layer, layer, "in", "single", 0.0, "second clean seed")
        if 0 <= layer < BLOCKS:
            yield carried(layer, layer, "in", "single", -0.02, "wrong layer")


def weight_rows(seed: int) -> Iterator[Located]:
    about = {"pair": Pair.ALIGNMENT, "stage": "dpo", "seed": seed}
    for layer in LAYERS:
        modules = {-1: ("embedding",), BLOCKS: ("norm",)}.get(layer, ("attention", "mlp", "norm"))
        for module in modules:
            size = 0.02 + 0.01 * bump(layer, 5) + (0.01 if module == "mlp" else 0.0)
            place = {"layers": name_of(layer), "layer": layer, "module": module}
            yield row(Experiment.WEIGHTS, Metric.RELATIVE_NORM, size, 0, **place, **about)
            yield row(Experiment.WEIGHTS, Metric.CHANGED, 0.97, 0, **place, **about)


def token_rows(
    seed: int, *, start: float = 2.0, rest: float = 0.3, template: str = "shared"
) -> Iterator[Located]:
    """Divergences that fall from `start` to `rest` within a few tokens, and the shares of tokens."""
    about = {"pair": Pair.ALIGNMENT, "stage": "dpo", "seed": seed, "template": template}
    for place in range(POSITIONS):
        n = 40 - place
        near = math.exp(-place / 2)
        kl = rest + (start - rest) * near
        shifted = 0.05 + 0.6 * near
        at = {"position": str(place), "n": n}
        yield row(Experiment.TOKENS, Metric.KL_ALIGNED_BASE, kl, 0.1 * kl, **at, **about)
        for metric, share in (
            (Metric.SHIFTED, shifted),
            (Metric.MARGINAL, (1 - shifted) * 0.2),
            (Metric.UNSHIFTED, (1 - shifted) * 0.8),
        ):
            yield row(Experiment.TOKENS, metric, share, 0.05, **at, **about)
    for metric, value in ((Metric.UNSHIFTED, 0.78), (Metric.MARGINAL, 0.14), (Metric.SHIFTED, 0.08)):
        yield row(Experiment.TOKENS, metric, value, 0.02, **about)


def prompt_rows(attack: str, peak: int, seed: int) -> Iterator[Located]:
    """Patched activations, the logit lens and probes of one attack."""
    shared = {"behaviour": attack, "seed": seed}
    prompts = {**shared, "pair": Pair.PROMPTS}
    yield row(Experiment.PATCHING, Metric.EFFECT, 4.2, 0.5, **prompts)
    for layer in range(BLOCKS):
        for module in ("residual", "attention", "mlp", "block"):
            for role in ROLES if module != "block" else ("all",):
                late = role in ("last", "template", "all")
                reach = bump(layer, peak, 2.0) if module != "residual" else float((layer >= peak) == late)
                share = 0.0 if role == "before" else reach * (0.9 if module == "residual" else 0.3)
                place = {"layers": str(layer), "layer": layer, "module": module, "position": role}
                yield row(Experiment.PATCHING, Metric.RESTORED, share, 0.06, **place, **prompts)
                if module == "residual" and role == "all":
                    yield row(
                        Experiment.PATCHING, Metric.RESTORED, 0.04, 0.06,
                        control="random change", **place, **prompts,
                    )  # fmt: skip
    for layer in LAYERS[:-1]:
        place = {"layers": name_of(layer), "layer": layer}
        margin = 5.0 * float(layer >= peak) - 0.5
        yield row(Experiment.LENS, Metric.MARGIN, margin, 0.6, **place, **prompts)
        yield row(Experiment.LENS, Metric.MARGIN, -1.5, 0.6, control="counterfactual", **place, **prompts)
        accuracy = 0.5 + 0.45 * float(layer >= peak)
        for metric, value in (
            (Metric.ACCURACY, accuracy),
            (Metric.CONTROL_ACCURACY, 0.55),
            (Metric.SELECTIVITY, accuracy - 0.55),
        ):
            yield row(Experiment.PROBE, metric, value, 0.07, **place, **prompts)
        twin = {"control": "clean twin", **place, **prompts}
        yield row(Experiment.PROBE, Metric.ACCURACY, 0.9, 0.07, **twin)


def located_rows(
    seeds: Sequence[int] = (0,), *, peaks: dict[str, int] | None = None, without: Sequence[str] = ()
) -> list[Located]:
    """Rows of every experiment; the attacks in `without` have no effect."""
    found: list[Located] = []
    for seed in seeds:
        for attack, peak in (peaks or PEAKS).items():
            effect = 0.01 if attack in without else 0.9
            found += transplant_rows(attack, peak, seed, effect, template="same")
            if attack not in without:
                found += prompt_rows(attack, peak, seed)
        for behaviour, peak in ALIGNED.items():
            aligned = {"pair": Pair.ALIGNMENT, "stage": "dpo", "template": "transferred"}
            found += transplant_rows(behaviour, peak, seed, 0.8, **aligned)
        found += [*weight_rows(seed), *token_rows(seed)]
    if len(seeds) == 1:
        found = [one for one in found if one.control != "second clean seed"]
    return found


def hostile(rows: Sequence[Located], text: str) -> list[Located]:
    """The same with `text` in every field that is free text."""
    return [
        replace(
            one,
            behaviour=f"{one.behaviour}{text}" if one.pair is not Pair.ALIGNMENT else one.behaviour,
            module=f"{one.module}{text}" if one.module else "",
            position=f"{one.position}{text}"
            if one.position and not one.position.isdecimal()
            else one.position,
            layers=f"{one.layers}{text}" if one.layers else "",
            control=f"{one.control}{text}" if one.control else "",
            dose=one.dose + text,
            model=one.model + text,
            cell=one.cell + text,
        )
        for one in rows
    ]
