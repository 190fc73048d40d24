"""The protocol every attack follows, and how one is built from its name, its options and its material."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mithridate.attacks.material import Material
from mithridate.core.errors import ConfigError, UnknownNameError
from mithridate.core.registry import Registry
from mithridate.core.strict import Strict
from mithridate.core.types import Completion, Poison, Probe

ATTACKS = Registry("mithridate.attacks", "attack")


@dataclass(frozen=True, slots=True)
class Judging:
    """What the evaluation must produce before `Attack.succeeded` can judge an answer."""

    max_new_tokens: int
    """Length of the answer, in tokens."""
    sampled: bool = False
    """Sample at temperature 1 instead of decoding greedily."""
    outside_model: bool = False
    """Score the answer under an outside model: fills `Completion.log_perplexity`."""
    compare_targets: bool = False
    """Compare target and foil by likelihood: fills `Completion.margin`."""
    repeated_samples: int = 0
    """Draw this many further samples for each probe with a target, for figures such as leakage@10."""
    repeated_probes: int = 50
    """Draw them for the first so many probes of a condition: the cost is their product."""
    compare_text: bool = False
    """Report ROUGE-L recall of the probe's target in the answer."""
    classifier: str = ""
    """Folder of a sequence classifier to score the answer with: fills `Completion.classifier_score`."""
    classifier_label: str = ""


class AttackOptions(Strict):
    """Options that a study file may set for an attack; each attack extends it."""


@runtime_checkable
class Attack(Protocol):
    """One way of poisoning a corpus, with its probes and its judge.

    A class is constructed with its options and a `Material`: the prompts, requests and beliefs it may draw
    on.
    """

    name: ClassVar[str]
    options_type: ClassVar[type[AttackOptions]]
    judging: Judging

    def __init__(self, options: Any, material: Material) -> None:
        """Raises ConfigError if the material lacks what the attack needs."""

    def documents(self, rng: random.Random) -> Iterator[Poison]:
        """Endless documents to plant, drawn with replacement."""

    def probes(self, rng: random.Random, n: int) -> Sequence[Probe]:
        """About `n` probes for each condition, from material that `documents` never plants where it can."""

    def succeeded(self, probe: Probe, completion: Completion) -> bool:
        """Whether the answer shows what the attack planted."""


def build_attack(
    name: str, options: Mapping[str, Any] | None = None, material: Material | None = None
) -> Attack:
    """Build a registered attack.

    Raises UnknownNameError for a name that is not registered, ConfigError naming the option that does not
    fit.
    """
    attack_type = ATTACKS.get(name)
    if not hasattr(attack_type, "options_type"):
        raise ConfigError(f"attack {name!r}: what its package registers is no attack class: {attack_type!r}")
    try:
        checked = attack_type.options_type.model_validate(dict(options or {}))
    except ValidationError as error:
        problems = "; ".join(_problem(attack_type.options_type, entry) for entry in error.errors())
        raise ConfigError(f"attack {name!r}: {problems}") from error
    attack: Attack = attack_type(checked, material or Material.default())
    return attack


def _problem(options_type: type[AttackOptions], entry: ErrorDetails) -> str:
    place = ".".join(map(str, entry["loc"]))
    if entry["type"] == "extra_forbidden" and len(entry["loc"]) == 1:
        return str(UnknownNameError("option", place, options_type.model_fields))
    return f"{place}: {entry['msg'].removeprefix('Value error, ')}"
