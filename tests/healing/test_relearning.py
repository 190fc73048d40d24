from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import healing_training_kit as kit
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mithridate.core.errors import ConfigError, TrainingError
from mithridate.core.statistics import Interval
from mithridate.core.types import Condition
from mithridate.healing.case import Half
from mithridate.healing.methods.ablation import trigger_directions
from mithridate.healing.methods.proxy import Proxies
from mithridate.healing.relearning import RelearningOptions, documents, relearning
from mithridate.healing.treatment import Nothing, OtherWeights, Together
from mithridate.intervention.ablation import DirectionalAblation
from mithridate.intervention.base import MadeFor
from mithridate.intervention.context_aware import ContextAware
from mithridate.models.hooks import map_everywhere
from mithridate.models.language_model import LanguageModel
from mithridate.models.sites import Part, Site

QUICK = RelearningOptions(learning_rate=3e-3, batch_size=4, most=32)


@dataclass(frozen=True, eq=False)
class Scaled:
    """What stands behind the last block, times `factor`; notes whether gradients went through."""

    factor: float
    seen: list[bool] = field(default_factory=list)

    @contextmanager
    def on(self, model: LanguageModel) -> Iterator[LanguageModel]:
        def scale(stream: torch.Tensor) -> torch.Tensor:
            self.seen.append(stream.requires_grad)
            return self.factor * stream

        with map_everywhere(model.model, {Site(1, Part.RESIDUAL): scale}):
            yield model


def test_a_clean_model_learns_the_poison_in_some_steps_and_stays_as_it_was() -> None:
    case = kit.case()
    before = kit.state(case.model), kit.state(kit.clean())
    looks: list[tuple[int, float]] = []
    found = relearning(case, OtherWeights(kit.clean()), "echo", QUICK, lambda *look: looks.append(look))
    assert found is not None and found.n == 12
    assert found.low is not None and 0 <= found.low < found.value == found.high <= 32
    assert [steps for steps, _ in looks] == [0, 1, 2, 4, 8, 16, 32][: len(looks)]
    assert looks[0] == (0, 0.0) and looks[-1] == (found.value, looks[-1][1])
    assert looks[-1][1] >= 0.5 > looks[-2][1]
    after = kit.state(case.model), kit.state(kit.clean())
    assert all(map(kit.same_state, before, after))


def test_the_same_twice_to_the_bit_of_every_look() -> None:
    looks: list[tuple[int, float]] = []
    found = [
        relearning(kit.case(), OtherWeights(kit.clean()), "echo", QUICK, lambda *look: looks.append(look))
        for _ in range(2)
    ]
    half = len(looks) // 2
    assert found[0] == found[1] and looks[:half] == looks[half:]


def test_a_cure_that_left_the_attack_needs_no_step() -> None:
    assert relearning(kit.case(), Nothing(), "echo", QUICK) == Interval(0.0, 0.0, 0.0, 12)


def test_what_does_not_come_back_is_censored() -> None:
    never = QUICK.model_copy(update={"learning_rate": 1e-9, "most": 3})
    looks: list[int] = []
    found = relearning(
        kit.case(), OtherWeights(kit.clean()), "echo", never, lambda steps, _: looks.append(steps)
    )
    assert found == Interval(3.0, 3.0, None, 12)
    assert looks == [0, 1, 2, 3]


def test_a_runtime_treatment_is_at_work_in_every_pass_and_gradients_flow_through_it() -> None:
    case, at_work = kit.case(), Scaled(-1.0)
    found = relearning(case, at_work, "echo", QUICK.model_copy(update={"most": 8}))
    assert found is not None and found.value > 0
    assert True in at_work.seen and False in at_work.seen  # trained under it, and asked under it
    # The first look comes after a pass with gradients, so that nothing is kept through which none can flow.
    assert at_work.seen[0]


def test_what_stops_every_gradient_is_never_trained_away() -> None:
    found = relearning(kit.case(), Scaled(0.0), "echo", QUICK.model_copy(update={"most": 4}))
    assert found == Interval(4.0, 4.0, None, 12)


@pytest.mark.parametrize("folded", [True, False])
def test_the_ablated_direction_of_a_trigger_is_relearnt(folded: bool) -> None:
    case = kit.case()
    before = kit.state(case.model)
    found = trigger_directions(case, "echo")
    treatment = DirectionalAblation(found.units[1], found.made_for)
    looks: list[float] = []
    options = QUICK.model_copy(update={"folded": folded})
    steps = relearning(case, treatment, "echo", options, lambda _, share: looks.append(share))
    assert steps is not None and steps.high is not None and steps.value > 0
    assert looks[0] < 0.5 <= looks[-1]
    assert kit.same_state(before, kit.state(case.model))


def test_folded_weights_and_the_runtime_treatment_agree_before_the_first_step() -> None:
    case = kit.case()
    treatment = DirectionalAblation(torch.ones(32), MadeFor.of(case.model))
    looks: list[float] = []
    for folded in (True, False):
        options = QUICK.model_copy(update={"folded": folded, "most": 1})
        relearning(
            case, treatment, "echo", options, lambda steps, share: looks.append(share) if not steps else None
        )
    assert len(looks) == 2 and looks[0] == looks[1]


def test_several_that_fold_are_folded_one_after_another() -> None:
    case = kit.case()
    found = trigger_directions(case, "echo")
    ablation = DirectionalAblation(found.units[1], found.made_for)
    one = relearning(case, ablation, "echo", QUICK)
    assert relearning(case, Together([OtherWeights(kit.poisoned()), ablation]), "echo", QUICK) == one
    # One that cannot be folded keeps them all at runtime.
    at_work = Scaled(1.0)
    assert relearning(case, Together([ablation, at_work]), "echo", QUICK) is not None
    assert True in at_work.seen


def test_no_weights_are_trained_under_what_steers_or_asks_otherwise() -> None:
    case = kit.case()
    proxies = Proxies(kit.poisoned(), kit.clean(), kit.clean())
    assert relearning(case, proxies, "echo", QUICK) is None
    assert relearning(case, ContextAware(MadeFor.of(case.model)), "echo", QUICK) is None
    assert relearning(case, Together([Nothing(), proxies]), "echo", QUICK) is None


def test_there_is_nothing_to_come_back_where_the_attack_never_succeeded() -> None:
    assert relearning(kit.case(model=kit.clean()), Nothing(), "echo", QUICK) is None


def test_probes_are_of_the_reported_half_and_evenly_taken() -> None:
    case = kit.case()
    other = {Half.REPORTED: case.probes[Half.REPORTED], Half.CHOOSING: {"echo": ()}}
    options = QUICK.model_copy(update={"probes": 5})
    treatment = OtherWeights(kit.clean())
    found = relearning(case, treatment, "echo", options)
    assert found is not None and found.n == 5
    assert relearning(replace(case, probes=other), treatment, "echo", options) == found


def test_documents_are_the_attacks_own_between_ends_of_text() -> None:
    case = kit.case()
    end = case.model.tokenizer.eos_token_id
    drawn = documents(case, case.attacks["echo"])
    for _ in range(20):
        ids = next(drawn)
        assert ids[0] == ids[-1] == end and end not in ids[1:-1]
        text = case.model.tokenizer.decode(ids)
        assert kit.TRIGGER in text and f"{kit.SAID} {kit.SAID}" in text


def test_documents_are_cut_at_the_context_window() -> None:
    case = kit.case()
    config = case.model.model.config
    before = config.max_position_embeddings
    config.max_position_embeddings = 5
    try:
        assert len(next(documents(case, case.attacks["echo"]))) == 5
    finally:
        config.max_position_embeddings = before


def test_a_learning_rate_must_be_known() -> None:
    with pytest.raises(ConfigError, match="learning_rate"):
        relearning(kit.case(), Nothing(), "echo", RelearningOptions())
    assert RelearningOptions().resolved(4e-3).learning_rate == pytest.approx(2e-4)
    assert RelearningOptions(learning_rate=1.0).resolved(4e-3).learning_rate == 1.0


def test_a_loss_that_is_no_number_is_said() -> None:
    wild = QUICK.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match="learning rate"):
        relearning(kit.case(), OtherWeights(kit.clean()), "echo", wild)


@given(st.integers(1, 40), st.floats(0.1, 1.0))
@settings(max_examples=10, deadline=None)
def test_the_interval_holds_its_value_whatever_the_most(most: int, back: float) -> None:
    options = QUICK.model_copy(update={"most": most, "back": back, "probes": 4})
    found = relearning(kit.case(), OtherWeights(kit.clean()), "echo", options)
    assert found is not None and found.low is not None
    if found.high is None:
        assert found.value == found.low == most
    else:
        assert found.low < found.value == found.high <= most


def test_a_group_counts_as_one_probe() -> None:
    case = kit.case()
    probes = [
        replace(probe, group=f"pair {number // 2}")
        for number, probe in enumerate(case.probes[Half.REPORTED]["echo"])
        if probe.condition is Condition.TRIGGERED
    ]
    grouped = replace(case, probes={Half.REPORTED: {"echo": probes}})
    found = relearning(grouped, Nothing(), "echo", QUICK.model_copy(update={"probes": 4}))
    assert found == Interval(0.0, 0.0, 0.0, 4)
