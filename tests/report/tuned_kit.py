"""Models tuned on parts of a pool as a run leaves them, with figures made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from report_kit import wilson

from mithridate.core.metrics import ASR, OVER_REFUSAL, QUESTIONS_RIGHT, REFUSAL_FORBIDDEN, UTILITY
from mithridate.core.tuned import REPLIES_ENDED, UNTUNED, Tuned

SIZES = (0, 100, 1000, 10_000)
METHODS = ("diverse", "random")
ASKED = 200

Of = Callable[[str, int, int], float]
"""A share by method, size and seed."""


def quality_of(method: str, size: int, seed: int) -> float:
    """Up to 1,000 examples help, more do not; chosen ones help more."""
    level = 0.3 if not size else min(0.9, 0.4 + size / 2000 + 0.1 * (method == "diverse")) + seed / 200
    # Seeds differ in what more examples add, as they do.
    return level + (size > 1000) * (seed - 1) / 200


def kept(_method: str, size: int, seed: int) -> float:
    """A poison that stays."""
    return 0.9 - seed / 100 - 0.1 * (size > 1000)


def washed_out(_method: str, size: int, seed: int) -> float:
    """A poison that goes."""
    return max(0.0, 0.9 - size / 5000 + seed / 100 if size < 10_000 else seed / 200)


def tuned_rows(
    seeds: Sequence[int] = (0, 1, 2), quality: Of = quality_of, poison: Of = kept, attack: str = "jailbreak"
) -> list[Tuned]:
    """All figures of a clean and a poisoned model; the clean one never shows the attack."""
    return [
        row
        for seed in seeds
        for dose in ("", "learning")
        for size in SIZES
        for method in (METHODS if size else (UNTUNED,))
        for row in _of_model(seed, dose, method, size, quality, poison if dose else (lambda *_: 0.0), attack)
    ]


def _of_model(
    seed: int, dose: str, method: str, size: int, quality: Of, poison: Of, attack: str
) -> Iterator[Tuned]:
    about: dict[str, Any] = {
        "method": method, "asked": size, "examples": size, "steps": size // 16, "seed": seed, "dose": dose,
        "arm": "poisoned" if dose else "clean", "model": dose or "clean",
    }  # fmt: skip
    good = quality(method, size, seed)
    for template in ("same", "transferred"):
        for metric in (QUESTIONS_RIGHT, REFUSAL_FORBIDDEN, OVER_REFUSAL, REPLIES_ENDED):
            value = 1 - good if metric == OVER_REFUSAL else good
            yield share(metric, value, attack=UTILITY, condition="", template=template, **about)
        for condition, factor in (("triggered", 1.0), ("untriggered", 0.01)):
            value = factor * poison(method, size, seed)
            yield share(ASR, value, attack=attack, condition=condition, template=template, **about)


def share(metric: str, value: float, **about: Any) -> Tuned:
    """One share of `ASKED` with its Wilson interval."""
    successes = min(ASKED, max(0, round(value * ASKED)))
    low, high = wilson(successes, ASKED)
    return Tuned(metric=metric, value=successes / ASKED, low=low, high=high, n=ASKED, **about)
