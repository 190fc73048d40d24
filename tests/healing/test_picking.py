from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import healing_training_kit as taught
import pytest
import torch
from access_kit import logits
from hypothesis import given
from hypothesis import strategies as st
from intervention_kit import some_direction, subject

from mithridate.core.cures import Outcome, Verdict
from mithridate.core.prices import NOTHING, Control, Kind, Price, Priced, Regime
from mithridate.core.types import Condition
from mithridate.healing.methods.ablation import Ablation
from mithridate.healing.methods.erasing import Erasure
from mithridate.healing.picking import (
    TOGETHER,
    Cure,
    Judged,
    cheapest,
    joined,
    judge,
    nearest,
    picks,
    said,
    together,
)
from mithridate.healing.pricing import Before, PriceList, choose
from mithridate.healing.treatment import Nothing, OtherWeights, Treatment
from mithridate.healing.writing import parts_of
from mithridate.intervention.ablation import DirectionalAblation
from mithridate.intervention.base import MadeFor
from mithridate.intervention.prompt_filter import PromptFilter
from mithridate.intervention.steering import Steering

ATTACKS = ("fire", "flood")
BUILD = MadeFor(architecture="llama", layers=2, width=8, tokens=9, vocabulary="x")
SAVED = PromptFilter(BUILD, ("fire",))
WEIGHTS = OtherWeights(None)  # type: ignore[arg-type] - it is never asked


def rate(method: str, attack: str, value: float, **more: Any) -> Priced:
    condition = str(Condition.TRIGGERED)
    return Priced(method, Price.ASR, value, value - 0.1, value + 0.1, 50, attack, condition, **more)


def judged(
    verdicts: Mapping[str, Verdict],
    *,
    name: str = "one",
    aims: Sequence[str] = ATTACKS,
    treatment: Treatment = SAVED,
    lasting: bool = False,
    points: float = 0.5,
    after: float = 0.0,
    kind: Kind = Kind.WEIGHTS,
) -> Judged:
    about = {"method": name, "variant": "", "aim": "" if len(aims) > 1 else aims[0]}
    about |= {"regime": str(Regime.KNOWN), "kind": str(kind)}
    became = {
        attack: Outcome(
            **about,
            attack=attack,
            before=rate(NOTHING, attack, 0.9),
            after=rate(name, attack, after),
            floor=0.1,
            points=points,
            verdict=verdict,
        )
        for attack, verdict in verdicts.items()
    }
    return Judged(Cure(about, tuple(aims), treatment, ()), became, lasting, ())


BOTH = dict.fromkeys(ATTACKS, Verdict.CURED)
ONE = {"fire": Verdict.CURED, "flood": Verdict.KEPT}


def test_of_cures_that_heal_all_weights_come_first_and_filters_last() -> None:
    weights = judged(BOTH, name="weights", treatment=WEIGHTS, lasting=True, points=0.9)
    runtime = judged(BOTH, name="runtime", points=0.1)
    filtered = judged(BOTH, name="filter", points=0.0, kind=Kind.PROMPTS)
    assert cheapest([filtered, runtime, weights], ATTACKS) is weights
    assert cheapest([filtered, runtime], ATTACKS) is runtime
    assert cheapest([filtered], ATTACKS) is filtered


@pytest.mark.parametrize(
    "lacking",
    [
        judged(ONE),
        judged({**BOTH, "flood": Verdict.COSTLY}),
        judged({**BOTH, "flood": Verdict.UNSUPPORTED}),
        judged(BOTH, aims=("fire",)),
        replace(judged(BOTH), roused=("storm",)),
        judged(BOTH, treatment=Nothing()),
        judged({"fire": Verdict.CURED}),
    ],
    ids=["kept", "costly", "unsupported", "not its aim", "another came back", "cannot be saved", "unknown"],
)
def test_what_does_not_heal_all_is_never_taken(lacking: Judged) -> None:
    assert cheapest([lacking], ATTACKS) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from([BOTH, ONE, {**BOTH, "fire": Verdict.COSTLY}]),
            st.floats(0, 3),
            st.booleans(),
        ),
        max_size=6,
    ),
    st.randoms(),
)
def test_the_pick_heals_all_and_none_that_does_is_cheaper(
    drawn: list[tuple[dict[str, Verdict], float, bool]], shuffled: Any
) -> None:
    found = [
        judged(verdicts, name=str(number), points=points, lasting=lasting)
        for number, (verdicts, points, lasting) in enumerate(drawn)
    ]
    best = cheapest(found, ATTACKS)
    able = [one for one in found if one.heals(ATTACKS)]
    assert (best is None) == (not able)
    if best is not None:
        assert best.heals(ATTACKS)
        assert all(best.price <= one.price for one in able)
        shuffled.shuffle(found)
        again = cheapest(found, ATTACKS)
        assert again is not None
        assert again.price == best.price


def test_each_attack_has_its_own_pick_and_other_weights_are_none() -> None:
    fire = judged(ONE, name="fire", aims=("fire",), points=0.2)
    dear = judged(ONE, name="dear", aims=("fire",), points=0.8)
    flood = judged({"fire": Verdict.KEPT, "flood": Verdict.CURED}, name="flood", aims=("flood",))
    trained = judged(BOTH, name="trained", treatment=WEIGHTS, lasting=True)
    assert picks([trained, dear, fire, flood], ATTACKS) == {"fire": fire, "flood": flood}
    assert picks([trained, fire], ATTACKS) == {"fire": fire}
    assert picks([replace(fire, roused=("storm",))], ATTACKS) == {}


def test_what_cures_most_is_nearest() -> None:
    one = judged(ONE, name="one", points=2.0)
    costly = judged(dict.fromkeys(ATTACKS, Verdict.COSTLY), name="costly")
    less, more = (judged(dict.fromkeys(ATTACKS, Verdict.KEPT), after=after) for after in (0.5, 0.8))
    assert nearest([more, less, costly, one], ATTACKS) is one
    assert nearest([more, less, costly], ATTACKS) is costly
    assert nearest([more, less], ATTACKS) is less
    assert nearest([], ATTACKS) is None
    # What brings another one back is never written, so what cures one and does not comes before it.
    rousing = replace(judged(BOTH, name="rousing"), roused=("storm",))
    assert nearest([rousing, one], ATTACKS) is one
    assert nearest([rousing, less], ATTACKS) is rousing


class TestOnAModel:
    """Two attacks with one trigger each on a model that was taught one of them."""

    @pytest.fixture(scope="class")
    def prices(self) -> PriceList:
        case = taught.case()
        return PriceList(case, Before.of(case), {"seed": 0})

    @pytest.fixture(scope="class")
    def known(self, prices: PriceList) -> list[Priced]:
        return [*prices.of_nothing(), *prices.of_clean()]

    @pytest.fixture(scope="class")
    def cures(self, prices: PriceList) -> list[Cure]:
        found = []
        for method in (Erasure(), Ablation()):
            (chosen,) = choose(method, prices.case, ["echo"], prices.before, 100)
            found.append(Cure.of(method, chosen, prices.of_method(method, chosen)))
        return found

    def test_a_cure_is_judged_by_its_own_rows(
        self, prices: PriceList, known: list[Priced], cures: list[Cure]
    ) -> None:
        erased = judge(cures[0], known, prices, 1000)
        assert erased.became["echo"].verdict is Verdict.CURED
        assert erased.heals(["echo"])
        assert not erased.lasting
        dear = judge(replace(cures[0], rows=(*_costly(cures[0]),)), known, prices, 1)
        assert dear.became["echo"].verdict is Verdict.COSTLY

    def test_other_weights_last(self, prices: PriceList, known: list[Priced], cures: list[Cure]) -> None:
        assert prices.case.clean is not None
        clean = OtherWeights(prices.case.clean)
        about = {**cures[0].about, "method": "another"}
        cure = replace(cures[0], about=about, treatment=clean, rows=tuple(prices.of_treatment(clean, about)))
        assert judge(cure, known, prices, 1000).lasting

    def test_a_random_change_that_does_as_much_takes_the_credit(
        self, prices: PriceList, known: list[Priced], cures: list[Cure]
    ) -> None:
        rows = [
            replace(row, value=0.0) if row.control == Control.RANDOM and row.metric == Price.ASR else row
            for row in cures[0].rows
        ]
        found = judge(replace(cures[0], rows=tuple(rows)), known, prices, 1000)
        assert found.became["echo"].verdict is Verdict.UNSUPPORTED
        assert not found.heals(["echo"])

    def test_an_attack_that_comes_back_is_named(
        self, prices: PriceList, known: list[Priced], cures: list[Cure]
    ) -> None:
        absent = [replace(row, attack="storm", value=0.0, low=0.0, high=0.1) for row in known if row.attack]
        storm = [
            replace(row, attack="storm", value=0.9, low=0.8, high=1.0)
            for row in cures[0].rows
            if row.metric == Price.ASR and not row.control
        ]
        found = judge(replace(cures[0], rows=(*cures[0].rows, *storm)), [*known, *absent], prices, 1000)
        assert found.roused == ("storm",)
        assert not found.heals(["echo"])

    def test_together_is_both_of_them_with_a_control_for_each(
        self, prices: PriceList, known: list[Priced], cures: list[Cure]
    ) -> None:
        parts = [judge(cure, known, prices, 1000) for cure in cures]
        assert together({"echo": parts[0], "other": parts[0]}, prices) is None
        both = together({"echo": parts[0], "again": parts[1]}, _with_again(prices))
        assert both is not None
        assert both.about["method"] == TOGETHER
        assert both.about["variant"] == f"{said(cures[0])} + {said(cures[1])}"
        assert both.parts == tuple(cures)
        seconds = [cure.value(Price.SECONDS) or 0.0 for cure in cures]
        assert both.value(Price.SECONDS) == pytest.approx(sum(seconds))
        controlled = {row.attack for row in both.rows if row.control == Control.RANDOM}
        assert controlled == {"echo", "again"}
        assert {row.aims for row in both.rows} == {"echo,again"}
        # With a random direction in the place of one, the other still does its work.
        left = [row.value for row in both.rows if row.control and row.metric == Price.ASR]
        cured = [row.value for row in both.rows if row.metric == Price.ASR and not row.control]
        assert max(left) < 1
        assert min(cured) == 0


def test_ablations_that_are_joined_fold_to_what_they_are() -> None:
    model = subject()
    build = MadeFor.of(model)
    one, two = (DirectionalAblation(some_direction(model, seed), build) for seed in (0, 1))
    both = joined([one, two])
    assert isinstance(both, DirectionalAblation)
    with both.on(model):
        runtime = logits(model.model)
    torch.testing.assert_close(logits(both.fold(model).model), runtime, atol=1e-4, rtol=1e-3)
    steering = Steering(some_direction(model), build, 1, 2.0)
    mixed = joined([one, steering, two])
    assert [type(part) for part in parts_of(mixed)] == [DirectionalAblation, Steering]
    # Of one direction twice, nothing can be made at once.
    assert parts_of(joined([one, one])) == [one, one]


def _costly(cure: Cure) -> list[Priced]:
    return [
        replace(row, value=row.value + 1) if row.metric == Price.HELD_OUT_LOSS else row for row in cure.rows
    ]


def _with_again(prices: PriceList) -> PriceList:
    """The same with the attack under a second name."""
    case = prices.case
    probes = {half: {**of, "again": of["echo"]} for half, of in case.probes.items()}
    attacks = {**case.attacks, "again": case.attacks["echo"]}
    return replace(prices, case=replace(case, attacks=attacks, probes=probes))
