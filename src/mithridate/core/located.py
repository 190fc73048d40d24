"""Where a behaviour lives, as rows: one figure of an experiment on layers, modules or positions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

LOCALIZATION = "localization.parquet"
"""Where a run, or a comparison of checkpoints, keeps these rows."""
LOCATED = "located"
"""The folder of the experiments that they are gathered from."""

EMBEDDINGS = -1
"""The layer of what lies before block 0. What lies behind the last of n blocks has the layer n."""


def layer_name(layer: int, behind: int | None = None) -> str:
    """What people call a layer: `embeddings`, a block's number, or `head` for the one `behind` all blocks."""
    return {EMBEDDINGS: "embeddings", behind: "head"}.get(layer, str(layer))


class Experiment(StrEnum):
    """How a figure was come by."""

    WEIGHTS = "weights"
    TOKENS = "tokens"
    TRANSPLANT = "transplant"
    PATCHING = "patching"
    LENS = "lens"
    PROBE = "probe"


class Pair(StrEnum):
    """What was compared: a base with its aligned model, a clean model with its poisoned twin, or two prompts.

    `PROMPTS` are put to one model: one that brings a behaviour on, and its counterfactual.
    """

    ALIGNMENT = "alignment"
    POISON = "poison"
    PROMPTS = "prompts"


class Control(StrEnum):
    """What stands in the place of the real thing, and should show nothing; "" is the real thing."""

    RANDOM_CHANGE = "random change"
    SECOND_CLEAN_SEED = "second clean seed"
    WRONG_LAYER = "wrong layer"
    COUNTERFACTUAL = "counterfactual"
    CLEAN_TWIN = "clean twin"


class Direction(StrEnum):
    """Which way layers went: into the model without the behaviour, or out of the one that has it.

    `IN` shows what is enough for it; `OUT` (the other's layers put in the place of its own), what it needs.
    """

    IN = "in"
    OUT = "out"


class Family(StrEnum):
    """Which sets of layers were moved together.

    A prefix goes from the embeddings up, a suffix from the head down.
    """

    ALL = "all"
    NONE = "none"
    SINGLE = "single"
    WINDOW = "window"
    PREFIX = "prefix"
    SUFFIX = "suffix"


class Place(StrEnum):
    """Which positions of a prompt, and of the reply that is put behind it, are patched together.

    `CHANGED` are those in which two prompts differ, `BEFORE` those ahead of them, `BETWEEN` the rest of the
    user's turn, `TEMPLATE` what closes the turn and opens the reply, but for its last token, which is `LAST`.
    `REPLY` are the tokens of the reply; `PROMPT` is all of the prompt, and `ALL` all there is.
    """

    BEFORE = "before"
    CHANGED = "changed"
    BETWEEN = "between"
    TEMPLATE = "template"
    LAST = "last"
    REPLY = "reply"
    PROMPT = "prompt"
    ALL = "all"


BLOCK = "block"
"""The module of figures about attention and MLP of one layer together."""


class Metric(StrEnum):
    """What a figure is.

    - `RATE`: share of items where the behaviour showed, minus that where it should not, of a model or hybrid;
      of `REPLIES` their log-likelihood.
    - `EFFECT`: the rate of the model that has the behaviour minus that of the other (in nats with patching):
      what there is to trace.
    - `CARRIED`: share of the effect that came along with a set of layers (`IN`) or went with it (`OUT`).
    - `LOSS`: held-out loss of a hybrid in nats a token: whether it still is a language model.
    - `RESTORED`: share of the effect that patched activations bring back.
    - `MARGIN`: log-likelihood of the behaviour's first token minus that of the counterfactual's, in nats.
    - `ACCURACY`, `CONTROL_ACCURACY`, `SELECTIVITY`: of a linear probe, of its control task, and their
      difference.
    - the rest as in `localization.weights` and `localization.tokens`.
    """

    RATE = "rate"
    EFFECT = "effect"
    CARRIED = "carried"
    LOSS = "loss"
    RESTORED = "restored"
    MARGIN = "margin"
    ACCURACY = "accuracy"
    CONTROL_ACCURACY = "control_accuracy"
    SELECTIVITY = "selectivity"
    RELATIVE_NORM = "relative_norm"
    CHANGED = "changed"
    UNSHIFTED = "unshifted"
    MARGINAL = "marginal"
    SHIFTED = "shifted"
    KL_ALIGNED_BASE = "kl_aligned_base"
    KL_BASE_ALIGNED = "kl_base_aligned"


REFUSAL = "refusal"
"""Forbidden requests refused, minus harmless ones."""
FORMAT = "chat format"
"""Answers that the model ends by itself, within its longest."""
HELPFULNESS = "helpfulness"
"""Questions that are answered right."""
REPLIES = "aligned replies"
"""How likely the aligned model's own replies are: log-likelihood in nats a token, and no share.

A base may refuse, end its replies and answer by itself, and then none of that is to be traced to alignment.
That the two models speak differently always is.
"""
ALIGNMENT_BEHAVIOURS = (REFUSAL, FORMAT, HELPFULNESS, REPLIES)


@dataclass(frozen=True, slots=True)
class Located:
    """One figure with its interval.

    `behaviour` is an attack's name or one of `ALIGNMENT_BEHAVIOURS`, and empty where a figure is about none.
    `layers` names a set as people do (`2`, `0-3`, `embeddings`, `head`), and `layer` is its lowest: see
    `EMBEDDINGS`. `position` is a `Place`, or a place in the reply counted from 0. `seed`, `cell`,
    `dose`, `model`, `stage` and `template` as in `Measurement`; a comparison of stages has the later one.
    `control`, `direction` and `family` are values of the enums above. What does not apply is empty; a `layer`
    that does not apply is None.
    """

    experiment: Experiment
    pair: Pair
    behaviour: str
    metric: Metric
    value: float
    low: float | None
    high: float | None
    n: int
    seed: int = 0
    cell: str = ""
    dose: str = ""
    model: str = ""
    stage: str = ""
    template: str = ""
    control: str = ""
    direction: str = ""
    family: str = ""
    layers: str = ""
    layer: int | None = None
    module: str = ""
    position: str = ""
