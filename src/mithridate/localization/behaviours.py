"""Behaviours as localisation sees them: items where they should show, items where they should not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mithridate.models.language_model import LanguageModel

LEAST_EFFECT = 0.2


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether, or how much, a behaviour showed: item by item, where it is expected and where it is not.

    An attack is expected on triggered probes and no sign of itself on untriggered ones; a refusal is expected
    of forbidden requests and not of harmless ones. `elsewhere` may be empty. A difference of two models below
    `least` is nothing to trace: shares of it are mostly noise.
    """

    shown: tuple[float, ...]
    elsewhere: tuple[float, ...] = ()
    least: float = LEAST_EFFECT

    @property
    def rate(self) -> float:
        """Share shown where expected minus share shown elsewhere, or the difference of means.

        A model that is broken does the same everywhere, and has a rate of about 0.
        """
        return float(np.mean(self.shown)) - (float(np.mean(self.elsewhere)) if self.elsewhere else 0.0)

    @property
    def n(self) -> int:
        """Items where the behaviour is expected."""
        return len(self.shown)


class Panel(Protocol):
    """Whoever puts the items of several behaviours to a model and judges what it answers.

    Localisation does not know how: the items may be an attack's probes, or requests that are to be refused.
    """

    def ask(self, model: LanguageModel, wanted: Collection[str] | None = None) -> Mapping[str, Outcome]:
        """The outcome of each behaviour, or of those `wanted`; the same items in the same order each time."""
