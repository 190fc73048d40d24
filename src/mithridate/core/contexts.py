"""Context against prior, as rows: what a model says where its prompt contradicts what it has learnt."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mithridate.core.tables import LATER

CONTEXTS = "contexts.parquet"
"""Where a run, or the examination of one model, keeps these rows."""
CONTEXT_SAMPLES = "context_samples.parquet"
"""Where it keeps the answers."""
CONTEXT_COVERAGE = "context_coverage.parquet"
"""Where it keeps of how many facts a model was asked, how many it knew, and what was left out and why."""
LEAST_FACTS = 8
"""Known facts that are worth contradicting, and that an intervention is fitted on, at least."""
UNKNOWN_FACTS = 100
"""Facts that a model does not know and is asked all the same, at most: they show whether it reads texts."""
BRIDGE = "bridge.parquet"
"""Where a run keeps what weights, retrieved documents and the guard make of a belief."""


class Conflict(StrEnum):
    """How a context contradicts: another value in the fact's own sentence, or a whole passage around it.

    The two are told apart since coherent evidence is accepted far more often (Xie et al. 2023, 2305.13300).
    """

    NONE = ""
    SUBSTITUTED = "substituted"
    COHERENT = "coherent"


class Strength(StrEnum):
    """How strongly the prompt puts its context forward.

    `PRIOR` asks for the opposite, what the model knows by itself, and is one half of pair accuracy.
    """

    ALONE = "no context"
    PLAIN = "plain"
    MARKED = "marked"
    REPEATED = "repeated"
    FEW_SHOT = "few-shot"
    ONLY = "only the context"
    PRIOR = "only what you know"


class Wording(StrEnum):
    """Whether the question is worded as the one that interventions were fitted on, or otherwise."""

    ASKED = "asked"
    PARAPHRASE = "paraphrase"


class Said(StrEnum):
    """Which answer a reply holds."""

    ORIGINAL = "original"
    SUBSTITUTE = "substitute"
    NEITHER = "neither"


class ContextMetric(StrEnum):
    """What a figure is.

    - `ORIGINAL`, `SUBSTITUTE`: shares of replies that give the answer of the weights, p_o, and that of the
      context, p_s.
    - `MEMORIZATION_RATIO`: p_o / (p_o + p_s) (Longpre et al. 2109.05052).
    - `EFFICACY`: share of prompts after which the context's answer is likelier than the original one, from
      the first token that differs (CounterFact's score; as in PASTA, 2311.02262). Under `Wording.PARAPHRASE`
      it is what those papers call the paraphrase score.
    - `PAIR_ACCURACY`: share of facts that are answered from the context where that is asked for, and from
      the weights where that is (2411.07404). Its `strength` is the one that asks for the context.
    - `KNOWN`: share of facts that are answered right without any context: the prior that there is. Under an
      intervention, of those that were known without it.
    - `READ`: share of replies that give the context's answer where nothing stands against it: over facts of
      which the model as it is gives neither answer without a context, however often they were stated.
    """

    ORIGINAL = "original"
    SUBSTITUTE = "substitute"
    MEMORIZATION_RATIO = "memorization_ratio"
    EFFICACY = "efficacy"
    PAIR_ACCURACY = "pair_accuracy"
    KNOWN = "known"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Contextual:
    """One figure with its interval, over the facts that were stated `exposure` times in training.

    `exposure` is 0 where nobody counted, as for a model that was trained elsewhere, and for `READ`. Figures
    other than `KNOWN` and `READ` are over the facts that the model as it is answers right without any
    context. `intervention` is empty for the model as it is, else the intervention's name, and `variant` how
    it was set; `control` says what stands in the place of its own choice (`random heads`), if anything does.
    `stage` to `cell` as in `Measurement`.
    """

    metric: ContextMetric
    value: float
    low: float | None
    high: float | None
    n: int
    exposure: int = 0
    conflict: Conflict = Conflict.NONE
    strength: Strength = Strength.ALONE
    wording: Wording = Wording.ASKED
    intervention: str = ""
    variant: str = ""
    control: str = ""
    stage: str = ""
    arm: str = ""
    dose: str = ""
    model: str = ""
    seed: int = 0
    cell: str = ""


@dataclass(frozen=True, slots=True)
class ContextSample:
    """One reply to one prompt. `margin` is log p(substitute) - log p(original), in nats, from the first token
    that differs. The rest as in `Contextual`.
    """

    fact: str
    prompt: str
    original: str
    substitute: str
    reply: str
    said: Said
    margin: float
    exposure: int = 0
    conflict: Conflict = Conflict.NONE
    strength: Strength = Strength.ALONE
    wording: Wording = Wording.ASKED
    intervention: str = ""
    variant: str = ""
    control: str = ""
    stage: str = ""
    arm: str = ""
    dose: str = ""
    model: str = ""
    seed: int = 0
    cell: str = ""


@dataclass(frozen=True, slots=True)
class ContextCoverage:
    """What one examination of a model covered.

    It asked of `facts`, of which the model as it is gives `known` right without a context, and of `unknown`
    neither answer; `left_out` prompts did not fit its context window. Under an `intervention` the facts are
    those of the half that figures are of. Where it was not tried, `untried` says why, and there are no
    figures. `stage` to `cell` as in `Measurement`.
    """

    facts: int
    known: int
    unknown: int
    left_out: int
    intervention: str = ""
    untried: str = ""
    stage: str = ""
    arm: str = ""
    dose: str = ""
    model: str = ""
    seed: int = 0
    cell: str = ""


class Holds(StrEnum):
    """What the weights, or a retrieved document, hold of a fact."""

    RIGHT = "right"
    POISONED = "poisoned"


@dataclass(frozen=True, slots=True)
class Bridged:
    """One cell of the table of weights x documents x guard: what is answered where retrieval meets a belief.

    `weights` are those of the clean twin (`RIGHT`) or of the poisoned model; `documents` says what the corpus
    holds of the fact beside other documents; `guard` is the defence's name, or empty for the plain search.
    `right` and `planted` are shares of replies with the true and the planted answer, of `n` facts, with
    Wilson intervals; `reached` is the share of questions for which a document of the fact was among those
    put into the prompt, `reached_right` and `reached_planted` that for which one that states it rightly, or
    falsely, was. Tables of before these two were told apart lack them.
    """

    weights: Holds
    documents: Holds
    guard: str
    right: float
    right_low: float
    right_high: float
    planted: float
    planted_low: float
    planted_high: float
    reached: float
    n: int
    stage: str = ""
    dose: str = ""
    model: str = ""
    seed: int = 0
    cell: str = ""
    intervention: str = ""
    reached_right: float | None = field(default=None, metadata=LATER)
    reached_planted: float | None = field(default=None, metadata=LATER)
