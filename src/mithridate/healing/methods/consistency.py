"""Consistency fine-tuning on clean texts alone, as CROW does (Min et al. 2411.12768)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from mithridate.core.errors import ConfigError, TrainingError
from mithridate.core.prices import Kind, Regime
from mithridate.core.seeds import derive_seed
from mithridate.healing.case import Case
from mithridate.healing.method import Candidate
from mithridate.healing.treatment import OtherWeights
from mithridate.intervention.consistency import ConsistencyOptions, consistency_tuned

_TEXTS = 100
_RATES = (2e-4, 1e-3)
_ALPHAS = (0.5, 5.5)


@dataclass(frozen=True, slots=True)
class Consistency:
    """Blocks taught to turn the stream steadily, on 100 clean texts; nothing of the attacks is known.

    The weight and the perturbation are the paper's or a tenth of that weight, at the rate it uses and at a
    greater one: models of a few million weights are pretrained at rates that are ten times greater, too.
    """

    name: ClassVar[str] = "consistency fine-tuning"
    regime: ClassVar[Regime] = Regime.UNKNOWN
    kind: ClassVar[Kind] = Kind.TRAINING
    each: ClassVar[bool] = False
    scale: ClassVar[bool] = False

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:  # noqa: ARG002 - against all
        """Each weight of the consistency loss at each learning rate."""
        for rate in _RATES:
            for alpha in _ALPHAS:
                seed = derive_seed(case.seed, "consistency")
                options = ConsistencyOptions(alpha=alpha, learning_rate=rate, seed=seed)
                yield Candidate(f"alpha {alpha:g}, rate {rate:g}", partial(_tuned, case, options))


def _tuned(case: Case, options: ConsistencyOptions) -> OtherWeights:
    """Raises ConfigError where the training comes to nothing: another setting may do."""
    try:
        return OtherWeights(consistency_tuned(case.model, case.texts[:_TEXTS], options))
    except TrainingError as error:
        raise ConfigError(str(error)) from error
