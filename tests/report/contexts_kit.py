"""What a model says against its prompts, made up: figures and replies that fit each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from report_kit import wilson

from mithridate.core.contexts import (
    Bridged,
    Conflict,
    ContextMetric,
    ContextSample,
    Contextual,
    Holds,
    Said,
    Strength,
    Wording,
)

EXPOSURES = (3, 30, 300)
PROMPTS = (Strength.PLAIN, Strength.ONLY)
FACTS = 40
CONFLICTS = (Conflict.SUBSTITUTED, Conflict.COHERENT)

Share = Callable[[int, Strength, str, str], float]
"""The share of substitutes by exposure, prompt, intervention and control."""


def prompts_fail(exposure: int, strength: Strength, intervention: str, control: str) -> float:
    """Prompts lose against strong priors, steered heads win, random heads do nothing."""
    if intervention and not control:
        return 0.9
    return {3: 0.9, 30: 0.5, 300: 0.1}[exposure] + 0.05 * (strength is Strength.ONLY)


def prompts_win(exposure: int, strength: Strength, intervention: str, control: str) -> float:
    return 0.9


MEANS = (
    ("", "", ""),
    ("attention steering", "8 heads", ""),
    ("attention steering", "8 heads", "random heads"),
)


def context_rows(
    share: Share = prompts_fail,
    seeds: Sequence[int] = (0,),
    exposures: Sequence[int] = EXPOSURES,
    means: Sequence[tuple[str, str, str]] = MEANS,
    read: float = 0.9,
) -> tuple[list[Contextual], list[ContextSample]]:
    rows: list[Contextual] = []
    samples: list[ContextSample] = []
    for seed in seeds:
        for exposure in exposures:
            known: dict[str, Any] = {"exposure": exposure, "seed": seed, "model": "learning", "stage": "dpo"}
            rows.append(Contextual(ContextMetric.KNOWN, 1.0, 0.9, 1.0, FACTS, **known))
            samples += [_reply(i, Said.ORIGINAL, known) for i in range(FACTS)]
            for conflict in CONFLICTS:
                for intervention, variant, control in means:
                    for strength in PROMPTS:
                        about: dict[str, Any] = {
                            **known, "conflict": conflict, "strength": strength, "variant": variant,
                            "intervention": intervention, "control": control, "wording": Wording.PARAPHRASE,
                        }  # fmt: skip
                        won = round(FACTS * share(exposure or 300, strength, intervention, control))
                        rows += _figures(won, about)
                        samples += [
                            _reply(i, Said.SUBSTITUTE if i < won else Said.ORIGINAL, about)
                            for i in range(FACTS)
                        ]
        rows += _reading(read, seed)
    return rows, samples


def _reading(share: float, seed: int) -> list[Contextual]:
    """What is answered from contexts about facts that the model does not know, whatever their exposure."""
    followed = round(FACTS * share)
    return [
        Contextual(
            ContextMetric.READ, share, *wilson(followed, FACTS), FACTS, conflict=conflict, strength=strength,
            wording=wording, seed=seed, model="learning", stage="dpo",
        )
        for conflict in CONFLICTS
        for strength in PROMPTS
        for wording in Wording
    ]  # fmt: skip


def _figures(won: int, about: dict[str, Any]) -> list[Contextual]:
    low, high = wilson(won, FACTS)
    lost = wilson(FACTS - won, FACTS)
    return [
        Contextual(ContextMetric.SUBSTITUTE, won / FACTS, low, high, FACTS, **about),
        Contextual(ContextMetric.ORIGINAL, 1 - won / FACTS, *lost, FACTS, **about),
        Contextual(ContextMetric.MEMORIZATION_RATIO, 1 - won / FACTS, *lost, FACTS, **about),
        Contextual(ContextMetric.EFFICACY, won / FACTS, low, high, FACTS, **about),
    ]


def _reply(number: int, said: Said, about: dict[str, Any]) -> ContextSample:
    return ContextSample(
        fact=f"fact {number}",
        prompt=f"Where is place {number}?",
        original=f"land {number}",
        substitute=f"isle {number}",
        reply=f"It is in {'isle' if said is Said.SUBSTITUTE else 'land'} {number}.",
        said=said,
        margin=0.5,
        **about,
    )


def bridge_rows(seeds: Sequence[int] = (0,), dose_of_clean: str = "") -> list[Bridged]:
    rows = []
    for seed in seeds:
        for weights in Holds:
            for documents in Holds:
                for guard in ("", "ragmask"):
                    planted = 30 if documents is Holds.POISONED and not guard else 4
                    rows.append(
                        Bridged(
                            weights,
                            documents,
                            guard,
                            1 - planted / 40,
                            *wilson(40 - planted, 40),
                            planted / 40,
                            *wilson(planted, 40),
                            0.95,
                            40,
                            stage="dpo",
                            seed=seed,
                            dose="learning" if weights is Holds.POISONED else dose_of_clean,
                            model="learning" if weights is Holds.POISONED else "clean",
                            reached_right=0.5,
                            reached_planted=0.9 if documents is Holds.POISONED else 0.0,
                        )
                    )
    return rows
