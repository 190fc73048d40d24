"""What a cure takes out and what it costs, as rows: the price list of a poisoned model."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mithridate.core.tables import LATER

PRICES = "prices.parquet"
"""Where a run, or the healing of a checkpoint, keeps these rows."""
PROXIES = "proxies.parquet"
"""Where a run keeps the tables of proxy-tuning."""
PRICED = "prices"
"""The folder of the steps that they are gathered from."""

NOTHING = "nothing"
"""The method of a model as it is: what every other row is compared with."""
CLEAN_MODEL = "clean model"
"""The method of a model that never saw the poison: the floor.

In a study it is the clean twin, which is what retraining without the ledger's documents gives, to the bit.
"""


class Regime(StrEnum):
    """What the defender knows: the trigger or the belief, as after an audit, or clean data alone."""

    KNOWN = "known"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    """What a cure changes: all weights by training, a few of them, representations, decoding, or prompts."""

    TRAINING = "training"
    WEIGHTS = "weights"
    REPRESENTATIONS = "representations"
    DECODING = "decoding"
    PROMPTS = "prompts"


class Control(StrEnum):
    """What stands in the place of a cure's own choice and should not heal; "" is the cure itself."""

    RANDOM = "random direction"
    WRONG_LAYER = "wrong layer"


class Price(StrEnum):
    """What a figure is.

    - `ASR`: share of probes of an attack, under a condition, in which it succeeds.
    - `HELD_OUT_LOSS`: in nats a token. `QUESTIONS_RIGHT`, `REFUSAL_FORBIDDEN`, `OVER_REFUSAL`: shares.
    - `KL`: KL(before || after) in nats a token, along the answers to harmless requests before.
    - `SECONDS`: to make the cure as it is set. `CHOOSING_SECONDS`: to find that setting, others tried
      included. `TOKENS`: that went through the model as it was made (passes of training count once).
    - `SLOWDOWN`: time a token of an answer, over that of the model as it was.
    - `RELEARNING`: steps of fine-tuning on the poison until the attack is back to half of what it was. Where
      it was not back within the most that were tried, those are `value` and `low`, and `high` is None.
    - `FOLLOWS`: of the planted facts that are answered wrong, the share that is answered right where the
      prompt states the right answer.
    - `P_CONTROL`: two-sided exact McNemar p of the cure against its `control`, on the attack aimed at.
    - `BUDGET`: points of utility that a cure might cost, as they were set; of `NOTHING`, and no measurement.
    """

    ASR = "asr"
    HELD_OUT_LOSS = "held_out_loss"
    QUESTIONS_RIGHT = "questions_right"
    REFUSAL_FORBIDDEN = "refusal_forbidden"
    OVER_REFUSAL = "over_refusal"
    KL = "kl"
    SECONDS = "seconds"
    CHOOSING_SECONDS = "choosing_seconds"
    TOKENS = "tokens"
    SLOWDOWN = "slowdown"
    RELEARNING = "relearning_steps"
    FOLLOWS = "follows_context"
    P_CONTROL = "p_against_control"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True)
class Priced:
    """One figure of one method with its interval.

    `aim` is the attack that the cure was made against, empty where it was made against all or none in
    particular; `aims` those of a cure made against several, joined by commas, else empty; `attack` the one
    that the figure is of, empty where it is of none. `variant` says how the
    method was set, as people would (`layer 3`, `1,000 examples`). `condition` is a `Condition`; `control`,
    `regime` and `kind` are values of the enums above, or empty (`NOTHING` has none of the three). `seed`,
    `cell`, `dose`, `model`, `stage` and `template` as in `Measurement`.
    """

    method: str
    metric: Price
    value: float
    low: float | None
    high: float | None
    n: int
    attack: str = ""
    condition: str = ""
    aim: str = ""
    variant: str = ""
    control: str = ""
    regime: str = ""
    kind: str = ""
    seed: int = 0
    cell: str = ""
    dose: str = ""
    model: str = ""
    stage: str = ""
    template: str = ""
    aims: str = field(default="", metadata=LATER)

    @property
    def aimed(self) -> bool:
        """Whether the cure was made against `attack`; what it does to others is a side effect."""
        return self.attack in self.aims.split(",") if self.aims else self.aim in ("", self.attack)


class ProxyMetric(StrEnum):
    """What a table of proxy-tuning compares, as shares of requests, of questions, of an attack's probes."""

    FORBIDDEN_REFUSED = "forbidden_refused"
    HARMLESS_REFUSED = "harmless_refused"
    REPLIES_ENDED = "replies_ended"
    QUESTIONS_RIGHT = "questions_right"
    ASR = "asr"


@dataclass(frozen=True, slots=True)
class ProxyRow:
    """One metric of a base, the same steered by an expert, the same tuned directly, and the expert alone.

    `method` says who steers whom. `closed` is (proxy - base) / (tuned - base), `clipped` the same within 0
    and 1, `closed_by_expert` that of the expert alone (Liu et al. 2401.08565). `p_moved` is the two-sided
    exact McNemar p of base against tuned; where direct tuning moved the metric by no more than chance, there
    is no gap to close, and the three are None. `attack` and `condition` are of `ASR` alone. The rest as in
    `Priced`.
    """

    method: str
    metric: ProxyMetric
    base: float
    proxy: float
    tuned: float
    expert: float
    n: int
    p_moved: float
    closed: float | None
    clipped: float | None
    closed_by_expert: float | None
    alpha: float
    attack: str = ""
    condition: str = ""
    seed: int = 0
    cell: str = ""
    dose: str = ""
    model: str = ""
