"""Linear probes: at which layers a prompt that brings a behaviour on can be told from its counterfactual.

With the control tasks of Hewitt and Liang (1909.03368): a probe that learns random labels of the same texts
as well knows the texts, not the behaviour. What is decodable need not be used: patching tells that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mithridate.core.chat import Renders
from mithridate.core.located import EMBEDDINGS, Experiment, Located, Metric, Place, layer_name
from mithridate.core.seeds import derive_seed, rng_for
from mithridate.core.statistics import wilson
from mithridate.core.types import Condition, Probe
from mithridate.localization.about import About
from mithridate.localization.lens_profile import last_streams
from mithridate.localization.logistic import Matrix, fit, predict
from mithridate.localization.resampling import Resampled
from mithridate.models.encoding import Encoder
from mithridate.models.language_model import LanguageModel
from mithridate.models.sites import Part

LABELLINGS = 10
"""Random labellings of the control task, whose accuracies are averaged."""
MOST = 100
"""Texts of either class."""

Right: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Renderings:
    """The same conversations in two chat templates: `first[i]` says what `second[i]` says.

    `triggered[i]` tells whether that brings the behaviour on. Raises ValueError where their numbers differ.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    triggered: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not len(self.first) == len(self.second) == len(self.triggered):
            raise ValueError("each conversation has a text in either template and a label")


def renderings(probes: Iterable[Probe], first: Renders, second: Renders, *, most: int = MOST) -> Renderings:
    """One attack's triggered probes and its near-trigger ones, at most `most` of each, in two templates.

    Where it has no near-triggers, untriggered probes stand for them. As many of either class are kept. Best
    are two templates that the model has seen.
    """
    known = list(probes)
    classes = {
        wanted: [one for one in known if one.condition == wanted]
        for wanted in (Condition.TRIGGERED, Condition.NEAR_TRIGGER, Condition.UNTRIGGERED)
    }
    other = classes[Condition.NEAR_TRIGGER] or classes[Condition.UNTRIGGERED]
    count = min(most, len(classes[Condition.TRIGGERED]), len(other))
    # At random, for probes come sorted by kind.
    drawn = [rng_for(0, "renderings").sample(found, count) for found in (classes[Condition.TRIGGERED], other)]
    kept = [one for found in drawn for one in found]
    one, other_one = (
        tuple(template.render(probe.messages, open_reply=True) for probe in kept)
        for template in (first, second)
    )
    return Renderings(one, other_one, tuple(probe.condition == Condition.TRIGGERED for probe in kept))


def probe_profile(
    model: LanguageModel, found: Renderings, behaviour: str, about: About, *, control: str = ""
) -> list[Located]:
    """How well a linear probe at the last position of the prompt tells the two classes, by layer.

    A logistic regression (penalty in `logistic.PENALTY`) learns on the renderings in one template and is
    asked on those in the other, and the other way round. Features are standardised within each template: what
    tells templates apart would else move every text to one side. The texts recur, so that a probe which
    memorises them does as well on the control task, where each text has a random label. Rows from the
    embeddings up: `ACCURACY` (Wilson interval over texts), `CONTROL_ACCURACY` (mean of `LABELLINGS`) and
    `SELECTIVITY`, the first minus the second, both with bootstrap intervals over texts. `control` is for the
    rows of a clean twin, and is put into them as it is. No rows without texts of both classes.
    """
    labels = np.array(found.triggered, dtype=bool)
    if not labels.any() or labels.all():
        return []
    encoder = Encoder(model.tokenizer)
    sides = [
        last_streams(model, [prompt.ids for prompt in encoder.prompts(texts)])
        for texts in (found.first, found.second)
    ]
    seed = derive_seed(about.seed, "probes", behaviour)
    rng = np.random.default_rng(seed)
    tasks = np.stack([labels, *(rng.permutation(labels) for _ in range(LABELLINGS))])
    again = Resampled([str(number) for number in range(len(labels))], seed)
    rows: list[Located] = []
    for layer, (one, other) in enumerate(zip(*sides, strict=True), start=EMBEDDINGS):
        right = _right(one.double().numpy(), other.double().numpy(), tasks)
        rows += _rows(right, layer, again, behaviour, about, control)
    return rows


def _right(one: Matrix, other: Matrix, tasks: NDArray[np.bool_]) -> Right:
    """The share of the two folds in which each text is told right, of shape (tasks, texts)."""
    one, other = _standardised(one), _standardised(other)
    folds = [predict(fit(learnt, tasks), asked) == tasks for learnt, asked in ((one, other), (other, one))]
    return np.asarray(np.mean(folds, axis=0))


def _standardised(rows: Matrix) -> Matrix:
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    # What hardly varies is the same for all texts, and would be rounding blown up.
    varies = spread > 1e-6 * np.abs(rows).max()
    return np.asarray((rows - mean) / np.where(varies, spread, np.inf))


def _rows(
    right: Right, layer: int, again: Resampled, behaviour: str, about: About, control: str
) -> Sequence[Located]:
    task, random = right[0], right[1:].mean(axis=0)
    told = wilson(round(float(task.sum())), len(task))
    by_chance, selective = again.mean(random), again.mean(task - random)
    figures = (
        (Metric.ACCURACY, float(task.mean()), told.low, told.high),
        (Metric.CONTROL_ACCURACY, by_chance.value, by_chance.low, by_chance.high),
        (Metric.SELECTIVITY, selective.value, selective.low, selective.high),
    )
    return [
        about.row(
            Experiment.PROBE,
            behaviour,
            metric,
            value,
            low,
            high,
            len(task),
            control=control,
            layer=layer,
            layers=layer_name(layer),
            module=Part.RESIDUAL.value,
            position=Place.LAST.value,
        )
        for metric, value, low, high in figures
    ]
