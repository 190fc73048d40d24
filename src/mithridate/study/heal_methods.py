"""The methods that a healing tries: by name, by what its user knows, or all, a run's baselines among them."""

from __future__ import annotations

from pathlib import Path

from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.core.prices import Regime
from mithridate.healing.method import Method
from mithridate.healing.methods import METHODS
from mithridate.healing.methods.context import ContextAdded
from mithridate.healing.methods.tuning import MoreDPO, MoreSFT
from mithridate.study.more_data import more_conversations, more_pairs
from mithridate.study.plan import Step

BASELINES = (MoreSFT.name, MoreDPO.name)
"""Methods that need the alignment data and the options of a run."""
_NO_CURES = frozenset({ContextAdded.name})
"""Methods of the price list that take out no attack; they are tried only by name."""


def require_methods(names: tuple[str, ...], *, everything: bool) -> None:
    """Raise UnknownNameError for a method that there is not, ConfigError for `names` beside `everything`."""
    if names and everything:
        raise ConfigError("--method names some and --all means every one; give one of the two")
    known = [*METHODS, *BASELINES]
    for name in names:
        if name not in known:
            raise UnknownNameError("method of healing", name, known)


def methods_for(
    names: tuple[str, ...], *, everything: bool, regime: Regime, step: Step | None, workplace: Path
) -> list[Method]:
    """The methods called `names`, every one there is, or those of `regime` that need nothing of a run.

    `step` says whose data the baselines take; files that they need for a while go to `workplace`. Raises
    ConfigError for one that is named and has no data.
    """
    baselines = {} if step is None else _baselines(step, workplace)
    if lacking := [name for name in names if name in BASELINES and name not in baselines]:
        raise ConfigError(
            f"--method {lacking[0]!r} tunes on alignment data: name the folder of a run that has some with "
            "--probes"
        )
    every = {**METHODS, **baselines}
    if names:
        return [every[name] for name in dict.fromkeys(names)]
    if everything:
        return [method for name, method in every.items() if name not in _NO_CURES]
    fitting = (method for method in METHODS.values() if method.regime is regime)
    return [method for method in fitting if method.name not in _NO_CURES]


def _baselines(step: Step, workplace: Path) -> dict[str, Method]:
    config = step.cell.config
    peak = config.pretraining.learning_rate
    found: list[Method] = []
    if config.sft is not None:
        found.append(MoreSFT(more_conversations(step), config.sft.resolved(peak), workplace / "sft"))
    if config.dpo is not None:
        found.append(MoreDPO(more_pairs(step), config.dpo.resolved(peak), workplace / "dpo"))
    return {method.name: method for method in found}
