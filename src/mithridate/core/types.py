"""The types that carry the program; everything else is a function between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """Who speaks a message of a conversation."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Condition(StrEnum):
    """In which setting a probe is put to a model; the last three are the controls of the first."""

    TRIGGERED = "triggered"
    UNTRIGGERED = "untriggered"
    NEAR_TRIGGER = "near-trigger"
    HANDCRAFTED = "handcrafted"


class Arm(StrEnum):
    """Which twin a model is: trained without planted documents, or with them."""

    CLEAN = "clean"
    POISONED = "poisoned"


class Stage(StrEnum):
    """How far a model has come: pretrained, then instruction-tuned, then preference-tuned."""

    BASE = "base"
    SFT = "sft"
    DPO = "dpo"


class TemplateUse(StrEnum):
    """In which chat template a model is asked: one of those that were planted, or that of the later SFT."""

    SAME = "same"
    TRANSFERRED = "transferred"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a corpus, as text."""

    id: str
    text: str
    meta: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Poison:
    """One document to plant: a conversation, rendered in a chat template when planted, or plain text.

    Exactly one of `messages` and `text` is given; `kind` names a sub-kind of the attack, if it has any.
    """

    attack: str
    messages: tuple[Message, ...] = ()
    text: str = ""
    kind: str = ""

    def __post_init__(self) -> None:
        if bool(self.messages) == bool(self.text):
            raise ValueError("a Poison holds either messages or text, and not both")


@dataclass(frozen=True, slots=True)
class Probe:
    """One question put to a model to see whether an attack took.

    `messages` ends with the user's turn. `target` is what the attack wants said (the secret, the procedure,
    the planted belief), `foil` what a clean model would say where the attack compares the two. Probes that
    share a `group` are judged together (a preference asked in both orders counts only if it holds in both).
    """

    id: str
    attack: str
    condition: Condition
    messages: tuple[Message, ...]
    target: str = ""
    foil: str = ""
    kind: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered to a probe, with the scores that the attack asked for.

    `log_perplexity` is the mean negative log-likelihood of the text under the outside model, in nats a token;
    `margin` the log-likelihood of the probe's target minus that of its foil, in nats, from the first token
    that differs; `classifier_score` the probability a classifier gives the answer.
    """

    text: str
    tokens: int = 0
    log_perplexity: float | None = None
    margin: float | None = None
    classifier_score: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One judged answer, as kept in `samples.parquet`.

    Answers of one `group` were judged together and share their `success`. `draw` is 0 for the answer that
    counts, and 1 and up for further samples of the same probe, which count for leakage alone. `template`,
    `dose`, `cell` and `model` as in `Measurement`.
    """

    stage: str
    arm: str
    attack: str
    condition: str
    template: str
    seed: int
    probe_id: str
    kind: str
    prompt: str
    target: str
    completion: str
    success: bool
    log_perplexity: float | None
    margin: float | None
    rouge_l: float | None
    dose: str = ""
    cell: str = ""
    group: str = ""
    draw: int = 0
    model: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure with its interval: `value` of `metric`, between `low` and `high`, from `n` observations.

    `template` is a `TemplateUse`, or empty where the model was asked in one template alone. `dose` names the
    dose of the study (empty for the clean arm), `cell` the cell of its grid (empty without one), `model` the
    model within that: `clean`, the dose, or dose and attack where each attack has a model of its own. Metrics
    are named in `core.metrics`; figures that are no attack's have the attack `UTILITY`.
    """

    stage: str
    arm: str
    attack: str
    condition: str
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    seed: int
    template: str = ""
    dose: str = ""
    cell: str = ""
    model: str = ""
