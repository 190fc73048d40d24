"""What layers carry: behaviours of a model with some of another's layers in the place of its own.

The size of a change says little of its importance; this asks what the changed layers do. Each set of layers
goes both ways. *In*: the model without the behaviour gets the layers of the one that has it; what comes along
is what those layers are enough for. *Out*: the model with the behaviour gets the other's; what goes is what
they are needed for. Compare Geiger et al. 2021 (arXiv 2106.02997) for interchange of activations; here it is
of weights, between models of one architecture, best of one beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mithridate.core.located import Control, Direction, Experiment, Family, Located, Metric
from mithridate.core.seeds import derive_seed
from mithridate.localization.about import About
from mithridate.localization.behaviours import Outcome, Panel
from mithridate.localization.layer_sets import Layers, LayerSet
from mithridate.localization.stand_ins import Tensors, from_source, random_change, wrong_layer
from mithridate.models.language_model import LanguageModel
from mithridate.models.transplanting import require_alike, with_tensors

_DRAWS = 1000

Loss: TypeAlias = Callable[[LanguageModel], float]
OnDone: TypeAlias = Callable[[int, int], None]
_Drawn: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Graft:
    """One set of layers, which way it goes, and whose weights it gets."""

    layers: LayerSet
    direction: Direction
    weights: Callable[[], Tensors]
    control: str = ""

    def place(self, layers: Layers) -> dict[str, Any]:
        """What its rows say of it."""
        return {
            "direction": self.direction,
            "family": self.layers.family,
            "layers": layers.name(self.layers),
            "layer": self.layers.first,
            "control": self.control,
        }


@dataclass(frozen=True, slots=True)
class Twins:
    """The model without a behaviour and the one that has it."""

    without: LanguageModel
    having: LanguageModel

    def target(self, direction: Direction) -> LanguageModel:
        """Whose layers are replaced."""
        return self.without if direction is Direction.IN else self.having

    def source(self, direction: Direction) -> LanguageModel:
        """Whose layers are put there."""
        return self.having if direction is Direction.IN else self.without


Plan: TypeAlias = Callable[[Twins], Iterable[Graft]]


def grafts(twins: Twins, families: Sequence[Family]) -> list[Graft]:
    """Every set of layers of `families`, in both directions; prefixes and suffixes inward alone.

    The model without a behaviour that gets a prefix of the other is the model with it that gets the suffix
    above from the one without: one hybrid, which would be asked twice.
    """
    layers = Layers.of(twins.without.model)
    found = []
    for chosen in layers.sets(*families):
        whole = chosen.family in (Family.PREFIX, Family.SUFFIX)
        for direction in (Direction.IN,) if whole else Direction:
            target, source = twins.target(direction).model, twins.source(direction).model
            found.append(Graft(chosen, direction, partial(from_source, target, source, layers.parts(chosen))))
    return found


def control_grafts(twins: Twins, seed: int, second_clean: LanguageModel | None = None) -> list[Graft]:
    """What should carry no behaviour, layer by layer and all layers at once.

    A random change of the size of the real one in every tensor, in both directions: *in*, it should bring
    nothing; *out*, it shows what any damage of that size would have taken away. And *in* alone, the block of
    the model with the behaviour that lies half the network away, and the layers of `second_clean`, a model of
    another seed that has not got the behaviour either.
    """
    target = twins.without.model
    layers = Layers.of(target)
    single, everything = layers.sets(Family.SINGLE), layers.sets(Family.ALL)
    found = []
    for chosen in (*single, *everything):
        for direction in Direction:
            ours, theirs = twins.target(direction).model, twins.source(direction).model
            weights = partial(random_change, ours, theirs, layers.parts(chosen), seed=seed)
            found.append(Graft(chosen, direction, weights, Control.RANDOM_CHANGE))
    if layers.blocks > 1:
        for chosen in single:
            if 0 <= chosen.first < layers.blocks:
                weights = partial(wrong_layer, target, twins.having.model, chosen.first)
                found.append(Graft(chosen, Direction.IN, weights, Control.WRONG_LAYER))
    if second_clean is not None:
        require_alike(target, second_clean.model)
        for chosen in (*single, *everything):
            weights = partial(from_source, target, second_clean.model, layers.parts(chosen))
            found.append(Graft(chosen, Direction.IN, weights, Control.SECOND_CLEAN_SEED))
    return found


def whole_plan(seed: int, second_clean: LanguageModel | None = None) -> Plan:
    """Every set of layers, and the controls."""
    families = (Family.SINGLE, Family.WINDOW, Family.PREFIX, Family.SUFFIX)
    return lambda twins: [*grafts(twins, families), *control_grafts(twins, seed, second_clean)]


def short_plan(twins: Twins) -> list[Graft]:
    """Layers one by one, from below and from above; no controls."""
    return grafts(twins, (Family.SINGLE, Family.PREFIX, Family.SUFFIX))


def transplants(
    twins: Twins,
    panel: Panel,
    plan: Plan,
    about: About,
    *,
    loss: Loss | None = None,
    on_done: OnDone | None = None,
) -> list[Located]:
    """What each graft of `plan` carries of each behaviour of `panel`.

    Rows: `RATE` of both models (families NONE and ALL of direction IN), `EFFECT` of each behaviour with its
    interval, and for each graft `RATE` and `CARRIED`, with `LOSS` of the hybrid where `loss` is given.
    Behaviours whose effect is below what `Outcome.least` asks for, or whose interval reaches 0, get no
    `CARRIED`: a share of nothing is noise. Intervals are bootstrapped over items, which all models are asked
    alike. Raises AccessError where one model's layers do not fit the other.
    """
    require_alike(twins.without.model, twins.having.model)
    parents = [dict(panel.ask(model)) for model in (twins.without, twins.having)]
    traced: dict[str, _Items] = {}
    rows: list[Located] = []
    for name, without in parents[0].items():
        items = _Items(without, parents[1][name], derive_seed(about.seed, "transplants", name))
        rows += items.parents(about, name)
        if items.is_traceable:
            traced[name] = items
    if loss is not None:
        for model, family in ((twins.without, Family.NONE), (twins.having, Family.ALL)):
            rows.append(_loss(about, loss(model), direction=Direction.IN, family=family))
    chosen = list(plan(twins)) if traced else []
    for number, graft in enumerate(chosen):
        if on_done is not None:
            on_done(number, len(chosen))
        rows += _grafted(twins, panel, graft, traced, about, loss)
    return rows


def _grafted(
    twins: Twins, panel: Panel, graft: Graft, traced: Mapping[str, _Items], about: About, loss: Loss | None
) -> list[Located]:
    target = twins.target(graft.direction)
    place = graft.place(Layers.of(target.model))
    with with_tensors(target.model, graft.weights()):
        found = panel.ask(target, traced)
        rows = [] if loss is None else [_loss(about, loss(target), **place)]
    for name, outcome in found.items():
        rows += traced[name].hybrid(about, name, outcome, graft.direction, place)
    return rows


def _loss(about: About, value: float, **place: Any) -> Located:
    return about.row(Experiment.TRANSPLANT, "", Metric.LOSS, value, **place)


class _Items:
    """One behaviour's items, as both models answered them, drawn again and again for intervals."""

    def __init__(self, without: Outcome, having: Outcome, seed: int) -> None:
        self._without, self._having = without, having
        rng = np.random.default_rng(seed)
        self._shown = rng.integers(0, without.n, (_DRAWS, without.n))
        others = len(without.elsewhere)
        self._elsewhere = rng.integers(0, others, (_DRAWS, others)) if others else None
        self._bottom, self._top = self._drawn(without), self._drawn(having)

    def _drawn(self, outcome: Outcome) -> _Drawn:
        rates: _Drawn = np.asarray(outcome.shown, dtype=float)[self._shown].mean(axis=1)
        if self._elsewhere is not None:
            rates = rates - np.asarray(outcome.elsewhere, dtype=float)[self._elsewhere].mean(axis=1)
        return rates

    @property
    def effect(self) -> float:
        return self._having.rate - self._without.rate

    @property
    def is_traceable(self) -> bool:
        low = np.quantile(self._top - self._bottom, 0.025)
        return self.effect >= self._having.least and bool(low > 0)

    def parents(self, about: About, name: str) -> list[Located]:
        rows = [
            self._rate(about, name, outcome, drawn, direction=Direction.IN, family=family)
            for outcome, drawn, family in (
                (self._without, self._bottom, Family.NONE),
                (self._having, self._top, Family.ALL),
            )
        ]
        low, high = _ends(self._top - self._bottom)
        effect = about.row(Experiment.TRANSPLANT, name, Metric.EFFECT, self.effect, low, high, self._having.n)
        return [*rows, effect]

    def hybrid(
        self, about: About, name: str, outcome: Outcome, direction: Direction, place: Mapping[str, Any]
    ) -> list[Located]:
        drawn = self._drawn(outcome)
        inward = direction is Direction.IN
        moved = outcome.rate - self._without.rate if inward else self._having.rate - outcome.rate
        moves = drawn - self._bottom if inward else self._top - drawn
        effects = self._top - self._bottom
        # A draw without an effect has no share; `is_traceable` saw to it that there are few.
        low, high = _ends(moves[effects > 0] / effects[effects > 0])
        share = moved / self.effect
        carried = about.row(Experiment.TRANSPLANT, name, Metric.CARRIED, share, low, high, outcome.n, **place)
        return [self._rate(about, name, outcome, drawn, **place), carried]

    @staticmethod
    def _rate(about: About, name: str, outcome: Outcome, drawn: _Drawn, **place: Any) -> Located:
        low, high = _ends(drawn)
        return about.row(
            Experiment.TRANSPLANT, name, Metric.RATE, outcome.rate, low, high, outcome.n, **place
        )


def _ends(drawn: _Drawn) -> tuple[float | None, float | None]:
    """The middle 95 % of bootstrap draws; none where all agree, which would be false certainty."""
    if not drawn.size or np.ptp(drawn) == 0:
        return None, None
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
