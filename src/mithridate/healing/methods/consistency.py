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
# At the paper's rate. A greater one takes more of the attacks out of a miniature, and most of its knowledge.
_ALPHAS = (0.5, 2.0, 5.5)


@dataclass(frozen=True, slots=True)
class Consistency:
    """Blocks taught to turn the stream steadily, on 100 clean texts; nothing of the attacks is known.

    The weight of the consistency loss is the paper's, or less; all else is as in the paper.
    """

    name: ClassVar[str] = "consistency fine-tuning"
    regime: ClassVar[Regime] = Regime.UNKNOWN
    kind: ClassVar[Kind] = Kind.TRAINING
    each: ClassVar[bool] = False
    scale: ClassVar[bool] = False

    def candidates(self, case: Case, aims: Sequence[str]) -> Iterator[Candidate]:  # noqa: ARG002 - against all
        """Three weights of the consistency loss."""
        for alpha in _ALPHAS:
            options = ConsistencyOptions(alpha=alpha, seed=derive_seed(case.seed, "consistency"))
            yield Candidate(f"alpha {alpha:g}", partial(_tuned, case, options))


def _tuned(case: Case, options: ConsistencyOptions) -> OtherWeights:
    """Raises ConfigError where the training comes to nothing: another setting may do."""
    try:
        return OtherWeights(consistency_tuned(case.model, case.texts[:_TEXTS], options))
    except TrainingError as error:
        raise ConfigError(str(error)) from error
