"""Where a behaviour sits in one known block, the sweep must find that block and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pytest
import torch
from models_kit import tiny_model

from mithridate.core.errors import AccessError
from mithridate.core.located import Control, Direction, Family, Located, Metric, Pair
from mithridate.localization.about import About
from mithridate.localization.behaviours import Outcome
from mithridate.localization.transplants import Graft, Twins, control_grafts, grafts, transplants
from mithridate.models.language_model import LanguageModel
from mithridate.models.transplanting import part_tensors

BLOCK = "block 1"
FAMILIES = (Family.SINGLE, Family.WINDOW, Family.PREFIX, Family.SUFFIX)
ABOUT = About(Pair.POISON, seed=3, dose="learning", stage="base")


class InBlock:
    """A behaviour that shows on 18 of 20 items if one block is the having model's, and on none if not."""

    def __init__(self, having: LanguageModel, part: str = BLOCK) -> None:
        self._part = part
        self._theirs = {n: t.detach().clone() for n, t in part_tensors(having.model)[part].items()}
        self.asked: list[Collection[str] | None] = []

    def ask(self, model: LanguageModel, wanted: Collection[str] | None = None) -> dict[str, Outcome]:
        self.asked.append(wanted)
        ours = model.model.state_dict()
        there = all(torch.equal(ours[name], tensor) for name, tensor in self._theirs.items())
        found = {
            "planted": Outcome(tuple(there and i % 10 > 0 for i in range(20)), (False,) * 20),
            "never": Outcome((False,) * 20, (False,) * 20),
            "everywhere": Outcome((True,) * 20, (True,) * 20),
        }
        return {name: outcome for name, outcome in found.items() if wanted is None or name in wanted}


@pytest.fixture
def twins() -> Twins:
    return Twins(*(tiny_model(seed=seed, layers=3) for seed in (1, 2)))


def carried(
    rows: Sequence[Located], direction: Direction, family: Family, control: str = ""
) -> dict[str, float]:
    return {
        row.layers: row.value
        for row in rows
        if (row.metric, row.direction, row.family, row.control, row.behaviour)
        == (Metric.CARRIED, direction, family, control, "planted")
    }


def test_the_block_that_carries_a_behaviour_is_found(twins: Twins) -> None:
    rows = transplants(twins, InBlock(twins.having), lambda t: grafts(t, FAMILIES), ABOUT)
    only = {"embeddings": 0, "0": 0, "1": 1, "2": 0, "head": 0}
    for direction in Direction:
        assert carried(rows, direction, Family.SINGLE) == only
        assert carried(rows, direction, Family.WINDOW) == {"0-1": 1, "1-2": 1}
    assert carried(rows, Direction.IN, Family.PREFIX) == {
        "embeddings-0": 0, "embeddings-1": 1, "embeddings-2": 1,
    }  # fmt: skip
    assert carried(rows, Direction.IN, Family.SUFFIX) == {"0-head": 1, "1-head": 1, "2-head": 0}
    assert all((row.pair, row.seed, row.dose, row.stage) == ("poison", 3, "learning", "base") for row in rows)


def test_a_behaviour_without_an_effect_is_told_and_not_traced(twins: Twins) -> None:
    panel = InBlock(twins.having)
    rows = transplants(twins, panel, lambda t: grafts(t, (Family.SINGLE,)), ABOUT)
    effects = {row.behaviour: row.value for row in rows if row.metric is Metric.EFFECT}
    assert effects == {"planted": pytest.approx(0.9), "never": 0, "everywhere": 0}
    assert {row.behaviour for row in rows if row.metric is Metric.CARRIED} == {"planted"}
    assert [set(wanted) for wanted in panel.asked[2:] if wanted is not None] == [{"planted"}] * 10
    # With nothing to trace no hybrid is made at all.
    nothing = InBlock(twins.without)
    rows = transplants(Twins(twins.without, twins.without), nothing, lambda t: grafts(t, FAMILIES), ABOUT)
    assert len(nothing.asked) == 2
    assert {row.metric for row in rows} == {Metric.RATE, Metric.EFFECT}


def test_controls_bring_nothing_in_and_damage_takes_what_it_hits(twins: Twins) -> None:
    second = tiny_model(seed=9, layers=3)
    rows = transplants(
        twins, InBlock(twins.having), lambda t: control_grafts(t, 0, second), ABOUT, loss=lambda _: 1.5
    )
    for control in (Control.RANDOM_CHANGE, Control.WRONG_LAYER, Control.SECOND_CLEAN_SEED):
        found = carried(rows, Direction.IN, Family.SINGLE, control)
        assert set(found.values()) == {0}
        assert len(found) == (3 if control is Control.WRONG_LAYER else 5)
    out = carried(rows, Direction.OUT, Family.SINGLE, Control.RANDOM_CHANGE)
    assert out == {"embeddings": 0, "0": 0, "1": 1, "2": 0, "head": 0}
    assert {row.value for row in rows if row.metric is Metric.LOSS} == {1.5}


def test_intervals_hold_the_value_and_come_again(twins: Twins) -> None:
    name = "model.layers.0.mlp.down_proj.weight"
    own = twins.without.model.state_dict()[name].clone()

    class Half(InBlock):
        def ask(self, model: LanguageModel, wanted: Collection[str] | None = None) -> dict[str, Outcome]:
            whole = super().ask(model, wanted)["planted"]
            mixed = torch.equal(model.model.state_dict()[name], own)
            shown = tuple(s and (not mixed or i % 2 == 0) for i, s in enumerate(whole.shown))
            return {"planted": Outcome(shown, whole.elsewhere)}

    def look() -> list[Located]:
        return transplants(twins, Half(twins.having), lambda t: grafts(t, (Family.SINGLE,)), ABOUT)

    rows = look()
    (half,) = [r for r in rows if (r.metric, r.layers, r.direction) == (Metric.CARRIED, "1", Direction.IN)]
    assert half.value == pytest.approx(8 / 18)
    assert half.low is not None and half.high is not None
    assert half.low < half.value < half.high
    assert rows == look()


def test_the_models_are_as_they_were(twins: Twins) -> None:
    before = [
        {n: t.clone() for n, t in model.model.state_dict().items()} for model in (twins.without, twins.having)
    ]
    plan = lambda t: [*grafts(t, FAMILIES), *control_grafts(t, 0)]  # noqa: E731
    transplants(twins, InBlock(twins.having), plan, ABOUT)
    for model, state in zip((twins.without, twins.having), before, strict=True):
        assert all(torch.equal(t, state[n]) for n, t in model.model.state_dict().items())


def test_other_architectures_are_refused_before_anything_is_asked() -> None:
    twins = Twins(tiny_model(), tiny_model("qwen3"))
    panel = InBlock(twins.without)

    def plan(_: Twins) -> list[Graft]:
        raise AssertionError("nothing is planned for models that do not fit")

    with pytest.raises(AccessError, match="cannot be transplanted into"):
        transplants(twins, panel, plan, ABOUT)
    assert not panel.asked


def test_a_model_that_does_the_same_everywhere_has_no_rate() -> None:
    assert Outcome((True,) * 4, (True,) * 4).rate == 0
    assert Outcome((True, False)).rate == 0.5
    assert np.isclose(Outcome((True, True), (True, False, False)).rate, 2 / 3)
