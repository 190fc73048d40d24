"""Whether a belief can be scrubbed from a corpus: rows of models trained on what a filter has left."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from mithridate.core.types import Sample

SCRUBBED = "scrubbed.parquet"
"""Where a run keeps these rows."""
SCRUBBED_SAMPLES = "scrubbed_samples.parquet"
"""Where a run keeps the judged answers."""

UNFILTERED = "nothing"
"""The filter that removes nothing."""


class Filter(StrEnum):
    """What a defender goes by who removes documents of beliefs that are known.

    The last two are controls: documents at random, and those of the ledger, which no defender has.
    """

    STRING = "string"
    MENTION = "mention"
    CLASSIFIER = "classifier"
    SIMILARITY = "similarity"
    INFLUENCE = "influence"
    RANDOM = "random"
    ORACLE = "oracle"


class Belief(StrEnum):
    """How documents speak of what they plant: they say it, or it follows from what several of them say."""

    STATED = "stated"
    SCATTERED = "scattered"


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """One figure of a model that was trained without the documents that a filter ranked first.

    `share` is the share of the corpus's documents that was removed, as realised; `removed` their number.
    `belief` is whose documents and probes the row tells of: `planted` documents of it stood in the corpus,
    `caught` of them were removed. `wanted` is the share that was asked for, the same over seeds. `seconds`
    are what ranking the corpus took. `metric` is one of `core.metrics`; `condition`, `arm` and the rest are
    as in `Measurement`. A figure that is no belief's (the held-out loss) has an empty `belief`.
    """

    method: str
    wanted: float
    share: float
    removed: int
    belief: str
    planted: int
    caught: int
    seconds: float
    arm: str
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


@dataclass(frozen=True, slots=True)
class ScrubbedSample(Sample):
    """One judged answer of such a model."""

    method: str = ""
    wanted: float = 0.0
